/** Large uploads: where blocks, buffers, chunks and holders meet, on file systems with and without direct writes. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BLOCK } from "../../base/aligned.ts";
import { bodyOf, digestOf, failureOf, newId, randomBytes, writeAll } from "../conformance-tools.ts";
import { BlobStoreFull, type BlobStore } from "../port.ts";
import { canMount, mountNew, unmount, type Kind } from "./mount-fixture.ts";
import { openFileStore } from "./store.ts";
import { BUFFER } from "./stream-writer.ts";

const root = fs.mkdtempSync(join(tmpdir(), "holdfast-streams-"));
afterAll(() => fs.rmSync(root, { recursive: true }));
const MATERIAL = randomBytes(4 << 20);

function around(size: number): number[] {
  return [size - 1, size, size + 1];
}

async function expectAnySplit(store: BlobStore, numRuns: number): Promise<void> {
  const chunk = fc.oneof(
    fc.constantFrom(...around(BLOCK), ...around(BUFFER), ...around(256 << 10), 65_536, 300_001),
    fc.integer({ min: 1, max: 200_000 }),
  );
  const holders = fc.array(fc.array(chunk, { maxLength: 8 }), { minLength: 1, maxLength: 3 });
  await fc.assert(
    fc.asyncProperty(holders, fc.boolean(), async (turns, doWait) => {
      const id = newId();
      const hasher = new Bun.CryptoHasher("sha256");
      const parts: Uint8Array[] = [];
      let total = 0;
      for (const turn of turns) {
        const upload = await store.upload(id, "sha256");
        expect(upload.size).toBe(total);
        const writes: Promise<void>[] = [];
        for (const size of turn) {
          const part = MATERIAL.slice(total % 1_000_003, (total % 1_000_003) + size);
          hasher.update(part);
          parts.push(part.slice());
          total += size;
          const write = upload.write(part);
          if (doWait) await write;
          else writes.push(write);
        }
        await Promise.all(writes);
        const { size, digest } = await upload.suspend();
        expect(size).toBe(total);
        expect(digest).toBe(`sha256:${hasher.copy().digest("hex")}` as typeof digest);
        if (total > 0) expect(await store.uploadSize(id)).toBe(total);
      }
      const whole = Buffer.concat(parts);
      const blob = await (await store.upload(id, "sha256")).commit(digestOf(whole));
      expect(Buffer.compare(Buffer.from(await bodyOf(store, blob)), whole)).toBe(0);
      await store.delete(blob.locator);
    }),
    { numRuns },
  );
}

test("any split at the edges of blocks and buffers, over any holders, gives those bytes", async () => {
  const store = await openFileStore({ directory: join(root, "split") });
  await expectAnySplit(store, 60);
  await store.close();
}, 60_000);

test("a holder of another thread goes on at any offset after direct writes", async () => {
  const directory = join(root, "resumed");
  const bytes = randomBytes(9 << 20);
  const stores = await Promise.all([openFileStore({ directory }), openFileStore({ directory })]);
  for (const cut of [...around(3 << 20), (3 << 20) + 5000, ...around((2 << 20) + BLOCK)]) {
    const id = newId();
    for (const [index, from] of [0, cut, 2 * cut].entries()) {
      const to = index < 2 ? from + cut : bytes.byteLength;
      const upload = await stores[index % 2 ? 1 : 0].upload(id, "sha256");
      await writeAll(upload, bytes.subarray(from, to), 70_001);
      const held = bytes.subarray(0, to);
      expect(await upload.suspend()).toMatchObject({ size: to, digest: digestOf(held) });
      const file = fs.readFileSync(join(directory, "uploads", id));
      expect(Buffer.compare(file, held)).toBe(0);
    }
    await stores[0].discard(id);
  }
  for (const store of stores) await store.close();
}, 30_000);

test("bytes of a stream that pauses are on the file soon, without more of them", async () => {
  const store = await openFileStore({ directory: join(root, "pausing") });
  const id = newId();
  const upload = await store.upload(id, "sha256");
  for (const total of [100_000, 200_001, 2_000_000]) {
    await writeAll(upload, randomBytes(total - upload.size), 300_000);
    const deadline = Date.now() + 5000;
    while ((await store.uploadSize(id)) !== total && Date.now() < deadline) await Bun.sleep(10);
    expect(await store.uploadSize(id)).toBe(total);
  }
  await upload.abort();
  await store.close();
});

describe.skipIf(!canMount("ramfs", join(root, "trial")))(
  "a file system without direct writes (needs root, to mount a ramfs)",
  () => {
    const directory = join(root, "ramfs");
    beforeAll(() => {
      expect(mountNew("ramfs", directory, 64)).toBe(true);
    });
    afterAll(() => unmount(directory));

    test("takes any split, too", async () => {
      const flags = fs.constants.O_DIRECT | fs.constants.O_CREAT | fs.constants.O_WRONLY;
      expect(() => fs.openSync(join(directory, "probe"), flags)).toThrow("EINVAL");
      const store = await openFileStore({ directory });
      await expectAnySplit(store, 15);
      await store.close();
    }, 60_000);
  },
);

for (const kind of ["ext4", "tmpfs"] satisfies Kind[]) {
  describe.skipIf(!canMount(kind, join(root, "trial")))(
    `a full disk: ${kind} (needs root, to mount it)`,
    () => {
      const directory = join(root, `full-${kind}`);
      beforeAll(() => {
        expect(mountNew(kind, directory, 24)).toBe(true);
      });
      afterAll(() => unmount(directory));

      test("keeps the acknowledged beginning of an upload, and goes on with room", async () => {
        const store = await openFileStore({ directory });
        const filler = join(directory, "filler");
        fs.writeFileSync(filler, randomBytes(8 << 20));
        const bytes = randomBytes(40 << 20);
        const id = newId();
        const upload = await store.upload(id, "sha256");
        expect(await failureOf(writeAll(upload, bytes, 65_537))).toBeInstanceOf(BlobStoreFull);
        const progress = await upload.suspend();
        expect(progress.size).toBeGreaterThan(4 << 20);
        expect(progress.digest).toBe(digestOf(bytes.subarray(0, progress.size)));
        expect(await store.uploadSize(id)).toBe(progress.size);

        fs.unlinkSync(filler);
        const resumed = await store.upload(id, "sha256");
        expect(resumed.size).toBe(progress.size);
        const end = progress.size + (3 << 20) + 17;
        await writeAll(resumed, bytes.subarray(progress.size, end), 65_537);
        const whole = bytes.subarray(0, end);
        const blob = await resumed.commit(digestOf(whole));
        expect(Buffer.compare(Buffer.from(await bodyOf(store, blob)), whole)).toBe(0);
        await store.delete(blob.locator);
        await store.close();
      }, 30_000);
    },
  );
}
