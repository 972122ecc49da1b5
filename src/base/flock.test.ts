import { expect, test } from "bun:test";
import fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { tryLock } from "./flock.ts";

test("a lock is held against every other descriptor until its own is closed", () => {
  const directory = fs.mkdtempSync(join(tmpdir(), "flock-"));
  const path = join(directory, "lock");
  const first = fs.openSync(path, "w");
  const second = fs.openSync(path, "r");
  expect(tryLock(first)).toBe(true);
  expect(tryLock(first)).toBe(true);
  expect(tryLock(second)).toBe(false);
  fs.closeSync(first);
  expect(tryLock(second)).toBe(true);
  fs.closeSync(second);
  expect(() => tryLock(second)).toThrow("errno 9");
  fs.rmSync(directory, { recursive: true });
});
