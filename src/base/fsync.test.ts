import { expect, test } from "bun:test";
import fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DirectoryCache, makeDirectory } from "./fsync.ts";

test("a directory cache keeps at most its limit open, in use or not", async () => {
  const root = fs.mkdtempSync(join(tmpdir(), "fsync-"));
  const paths = Array.from({ length: 20 }, (_, index) => join(root, "deep", "er", String(index)));
  for (const path of paths) await makeDirectory(path);
  const open = (): number =>
    fs.readdirSync("/proc/self/fd").filter((fd) => {
      try {
        return fs.readlinkSync(`/proc/self/fd/${fd}`).startsWith(root);
      } catch {
        return false;
      }
    }).length;
  const cache = new DirectoryCache(4);
  await Promise.all([...paths, ...paths].map((path) => cache.sync(path)));
  expect(open()).toBe(4);
  await cache.sync(join(root, "deep"));
  expect(open()).toBe(4);
  cache.close();
  expect(open()).toBe(0);
  const failure = await cache.sync(join(root, "none")).catch((error: unknown) => error);
  expect((failure as ErrnoException).code).toBe("ENOENT");
  fs.rmSync(root, { recursive: true });
});
