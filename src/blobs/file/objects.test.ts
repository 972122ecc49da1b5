import { spawnSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "bun:test";
import { objectStoreConformance } from "../conformance-objects.ts";
import { collected, failureOf, randomBytes } from "../conformance-tools.ts";
import { BlobStoreFull, BlobStoreUnavailable } from "../port.ts";
import { openFileObjects } from "./objects.ts";

const root = mkdtempSync(join(tmpdir(), "holdfast-objects-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

objectStoreConformance("files", async () => {
  const directory = join(root, "conformance", "made");
  return {
    store: await openFileObjects(directory),
    other: await openFileObjects(directory),
    conditional: true,
    close: async () => {},
  };
});

test("nothing but the objects is left, and what a dead process left is removed", async () => {
  const directory = join(root, "leftovers");
  const store = await openFileObjects(directory);
  await store.put("a/x", randomBytes(10));
  await store.put("a/x", randomBytes(10), { ifAbsent: true });
  expect(readdirSync(join(directory, "~new"))).toEqual([]);
  for (const [name, seconds] of [
    ["old", 7200],
    ["young", 60],
  ] as const) {
    const path = join(directory, "~new", name);
    writeFileSync(path, "torn");
    const at = Date.now() / 1000 - seconds;
    utimesSync(path, at, at);
  }
  const again = await openFileObjects(directory);
  expect(readdirSync(join(directory, "~new"))).toEqual(["young"]);
  expect((await collected(again.list(""))).map(({ name }) => name)).toEqual(["a/x"]);
});

test("a directory that has gone elsewhere is not made anew", async () => {
  const directory = join(root, "moved");
  const store = await openFileObjects(directory);
  renameSync(directory, `${directory}-away`);
  expect(await failureOf(store.put("x", randomBytes(1)))).toBeInstanceOf(BlobStoreUnavailable);
  expect(existsSync(directory)).toBe(false);
  renameSync(`${directory}-away`, directory);
  expect(await store.put("x", randomBytes(1))).toBe(true);
});

const mountable = spawnSync("unshare", ["-m", "true"]).status === 0 && process.getuid?.() === 0;
test.skipIf(!mountable)(
  "a full disk keeps the object there was and leaves nothing of the new one",
  async () => {
    const directory = join(root, "full");
    mkdirSync(directory);
    expect(spawnSync("mount", ["-t", "tmpfs", "-o", "size=1m", "none", directory]).status).toBe(0);
    try {
      const store = await openFileObjects(directory);
      const before = randomBytes(1000);
      await store.put("x", before);
      expect(await failureOf(store.put("x", randomBytes(2 ** 21)))).toBeInstanceOf(BlobStoreFull);
      expect(await store.get("x")).toEqual(before);
      expect(await store.put("y", randomBytes(500_000))).toBe(true);
    } finally {
      spawnSync("umount", ["-l", directory]);
    }
  },
);
