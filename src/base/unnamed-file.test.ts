import { afterAll, describe, expect, test } from "bun:test";
import fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { nameFile, openUnnamed } from "./unnamed-file.ts";

const root = fs.mkdtempSync(join(tmpdir(), "unnamed-"));
afterAll(() => fs.rmSync(root, { recursive: true }));

describe.skipIf(process.platform !== "linux")("an unnamed file", () => {
  /** Undefined only where the temporary directory's file system has no such files. */
  const fd = openUnnamed(root, 0o640);

  test.skipIf(fd === undefined)("shows when it is named, with its bytes and mode", () => {
    if (fd === undefined) return;
    fs.writeSync(fd, "content");
    expect(fs.readdirSync(root)).toEqual([]);
    expect(nameFile(fd, join(root, "näme"))).toBe(true);
    expect(fs.readFileSync(join(root, "näme"), "utf8")).toBe("content");
    expect(fs.statSync(join(root, "näme")).mode & 0o777).toBe(0o640);
    expect(fs.statSync(join(root, "näme")).nlink).toBe(1);
    fs.closeSync(fd);
  });

  test.skipIf(fd === undefined)("takes no name that is taken, nor one without a directory", () => {
    const other = openUnnamed(root, 0o640);
    if (other === undefined) return;
    fs.writeFileSync(join(root, "taken"), "old");
    expect(nameFile(other, join(root, "taken"))).toBe(false);
    expect(nameFile(other, join(root, "none", "x"))).toBe(false);
    fs.closeSync(other);
    expect(fs.readFileSync(join(root, "taken"), "utf8")).toBe("old");
    expect(nameFile(other, join(root, "closed"))).toBe(false);
  });

  test("is not to be had where there is no directory, or no support", () => {
    expect(openUnnamed(join(root, "none"), 0o640)).toBeUndefined();
    expect(openUnnamed("/proc", 0o640)).toBeUndefined();
  });
});
