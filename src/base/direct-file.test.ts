import { afterAll, describe, expect, test } from "bun:test";
import { ptr } from "bun:ffi";
import * as fc from "fast-check";
import fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { alignedBytes, alignedDown, alignedUp, BLOCK } from "./aligned.ts";
import { DirectFile } from "./direct-file.ts";

const root = fs.mkdtempSync(join(tmpdir(), "direct-"));
afterAll(() => fs.rmSync(root, { recursive: true }));

/** What another program finds this file system able to do. */
const dd = [
  "dd",
  "if=/dev/zero",
  `of=${join(root, "probe")}`,
  "bs=4096",
  "count=1",
  "oflag=direct",
];
const canDirect = Bun.spawnSync(dd).exitCode === 0;

test("aligned bytes begin at a block boundary, whatever their size", () => {
  for (const size of [1, 100, 4095, 4096, 4097, 65_536, 1 << 20, (1 << 20) + 1]) {
    const many = Array.from({ length: 8 }, () => alignedBytes(size));
    for (const bytes of many) {
      expect(ptr(bytes) % BLOCK).toBe(0);
      expect(bytes.byteLength).toBe(size);
    }
  }
  expect([0, 1, 4095, 4096, 4097].map(alignedUp)).toEqual([0, 4096, 4096, 4096, 8192]);
  expect([0, 1, 4095, 4096, 4097].map(alignedDown)).toEqual([0, 0, 0, 4096, 4096]);
});

describe("a direct file", () => {
  function withFile<T>(work: (file: DirectFile, path: string) => Promise<T>): Promise<T> {
    const path = join(root, crypto.randomUUID());
    const fd = fs.openSync(path, "w+");
    const file = new DirectFile(fd);
    return work(file, path).finally(() => {
      file.close();
      fs.closeSync(fd);
      fs.unlinkSync(path);
    });
  }

  test.skipIf(!canDirect)("goes past the page cache for large writes, and only for them", () =>
    withFile(async (file, path) => {
      const bytes = alignedBytes(1 << 20).fill(7);
      await file.write(bytes.subarray(0, 100_000), 0);
      expect(file.isDirect).toBe(false);
      await file.write(bytes, 0);
      expect(file.isDirect).toBe(true);
      expect(fs.readFileSync(path)).toEqual(Buffer.from(bytes));
    }),
  );

  test("goes on through the page cache where a direct write is refused", () =>
    withFile(async (file, path) => {
      const memory = crypto.getRandomValues(alignedBytes(65_536));
      const aligned = alignedBytes((1 << 20) + 1);
      for (let at = 0; at < 1 << 20; at += 65_536) aligned.set(memory, at);
      // One byte off: what no disk takes directly.
      const crooked = aligned.subarray(1);
      await file.write(crooked, 0);
      if (canDirect) expect(file.isDirect).toBe(false);
      expect(fs.readFileSync(path)).toEqual(Buffer.from(crooked));
    }));

  test("fails with the system's error, and touches no closed descriptor", async () => {
    const path = join(root, "read-only");
    fs.writeFileSync(path, "");
    const fd = fs.openSync(path, "r");
    const file = new DirectFile(fd);
    const failure = await file.write(new Uint8Array(10), 0).catch((error: unknown) => error);
    expect((failure as ErrnoException).code).toBe("EBADF");
    file.close();
    fs.closeSync(fd);
  });

  test("any pieces, one after another, are the file", async () => {
    const edges = [1, BLOCK - 1, BLOCK, BLOCK + 1, (256 << 10) - 1, 256 << 10, (256 << 10) + 8191];
    const length = fc.oneof(
      fc.constantFrom(...edges, 1 << 20),
      fc.integer({ min: 1, max: 600_000 }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(length, { minLength: 1, maxLength: 6 }), (lengths) =>
        withFile(async (file, path) => {
          const parts: Uint8Array[] = [];
          let at = 0;
          for (const [index, size] of lengths.entries()) {
            const phase = at % BLOCK;
            const bytes = alignedBytes(phase + size).subarray(phase);
            for (let i = 0; i < size; i++) bytes[i] = (i * 31 + index) & 255;
            await file.write(bytes, at);
            parts.push(bytes);
            at += size;
          }
          expect(Buffer.compare(fs.readFileSync(path), Buffer.concat(parts))).toBe(0);
        }),
      ),
      { numRuns: 40 },
    );
  }, 30_000);
});
