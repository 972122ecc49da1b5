/** What every engine of the BlobStore port must do, as tests. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import { makeDigest } from "../oci/digest.ts";
import {
  bodyOf,
  collected,
  digestOf,
  failureOf,
  newId,
  randomBytes,
  uploaded,
  uploadIds,
  writeAll,
} from "./conformance-tools.ts";
import { DigestMismatch, UploadBusy, type BlobStore, type UploadProgress } from "./port.ts";

export interface OpenedStore {
  readonly store: BlobStore;
  /** A second handle on the same bytes, as another process would have it. */
  readonly other: BlobStore;
  close(): Promise<void>;
}

/** Registers the suite for an engine; `open` gives an empty store, once. */
export function blobStoreConformance(name: string, open: () => Promise<OpenedStore>): void {
  describe(`${name}: the BlobStore port`, () => {
    let opened: OpenedStore;
    let store: BlobStore;
    let other: BlobStore;
    beforeAll(async () => {
      opened = await open();
      ({ store, other } = opened);
    });
    afterAll(() => opened.close());

    describe("blobs", () => {
      test("a put blob reads back through every method and handle", async () => {
        const bytes = randomBytes(1000);
        const blob = await store.put(digestOf(bytes), bytes);
        expect(blob.size).toBe(1000);
        for (const handle of [store, other]) {
          expect(await handle.stat(blob.locator)).toBe(1000);
          expect(await handle.read(blob.locator, 1000)).toEqual(bytes);
          expect(await bodyOf(handle, blob)).toEqual(bytes);
        }
      });

      test("put leaves the caller's bytes alone", async () => {
        const bytes = randomBytes(100);
        const before = bytes.slice();
        await store.put(digestOf(bytes), bytes);
        expect(bytes).toEqual(before);
      });

      test("a put may be larger than a manifest", async () => {
        const bytes = randomBytes(5_000_000);
        const blob = await store.put(digestOf(bytes, "sha512"), bytes);
        expect(await store.read(blob.locator, bytes.byteLength)).toEqual(bytes);
      });

      test("a blob of no bytes is a blob", async () => {
        const none = new Uint8Array(0);
        const blob = await store.put(digestOf(none), none);
        expect(await store.stat(blob.locator)).toBe(0);
        expect(await store.read(blob.locator, 0)).toEqual(none);
        expect(await bodyOf(store, blob)).toEqual(none);
      });

      test("ranges are inclusive at both ends", async () => {
        const bytes = randomBytes(100_000);
        const { locator, size } = await store.put(digestOf(bytes), bytes);
        for (const [start, end] of [
          [0, 0],
          [0, 99_999],
          [5, 6],
          [99_999, 99_999],
          [65_535, 65_537],
        ] as const) {
          const body = await store.open(locator, size, { start, end });
          expect(await new Response(body).bytes()).toEqual(bytes.slice(start, end + 1));
        }
      });

      test("a size that is not the blob's reads as absent", async () => {
        const bytes = randomBytes(10);
        const { locator } = await store.put(digestOf(bytes), bytes);
        for (const size of [0, 9, 11]) {
          expect(await store.open(locator, size)).toBeUndefined();
          expect(await store.read(locator, size)).toBeUndefined();
        }
      });

      test("equal puts have locators of their own, and a delete hits only one", async () => {
        const bytes = randomBytes(500);
        const [first, second] = await Promise.all([
          store.put(digestOf(bytes), bytes),
          other.put(digestOf(bytes), bytes),
        ]);
        expect(first.locator).not.toBe(second.locator);
        await other.delete(first.locator);
        expect(await store.stat(first.locator)).toBeUndefined();
        expect(await store.open(first.locator, 500)).toBeUndefined();
        expect(await store.read(first.locator, 500)).toBeUndefined();
        expect(await store.read(second.locator, 500)).toEqual(bytes);
      });

      test("deleting what is gone succeeds", async () => {
        const bytes = randomBytes(5);
        const { locator } = await store.put(digestOf(bytes), bytes);
        await store.delete(locator);
        await store.delete(locator);
        expect(await store.stat(locator)).toBeUndefined();
      });

      test("list gives every blob once, in order, and goes on after a locator", async () => {
        const began = Date.now();
        const put = await Promise.all(
          Array.from({ length: 40 }, (_, index) => {
            const bytes = randomBytes(20 + index);
            return store.put(digestOf(bytes, index % 4 === 0 ? "sha512" : "sha256"), bytes);
          }),
        );
        const listed = await collected(other.list());
        const locators = listed.map((blob) => blob.locator);
        expect(locators).toEqual([...new Set(locators)].sort());
        for (const blob of put) {
          const entry = listed.find((candidate) => candidate.locator === blob.locator);
          expect(entry?.size).toBe(blob.size);
          expect(Math.abs((entry?.modified ?? 0) - began)).toBeLessThan(60_000);
        }
        for (const at of [0, 7, Math.floor(locators.length / 2), locators.length - 1]) {
          const rest = await collected(other.list(locators[at]));
          expect(rest.map((blob) => blob.locator)).toEqual(locators.slice(at + 1));
        }
      });

      test("space is free and total bytes, where it can be told", async () => {
        const space = await store.space();
        if (space === undefined) return;
        expect(space.free).toBeGreaterThan(0);
        expect(space.total).toBeGreaterThanOrEqual(space.free);
      });
    });

    describe("uploads", () => {
      // Beside and above what an engine may keep in memory.
      for (const size of [0, 1, 1000, 65_536, 65_537, 3_000_001]) {
        test(`${size} bytes are invisible until they are committed, then whole`, async () => {
          const id = newId();
          const bytes = randomBytes(size);
          const before = await collected(other.list());
          const upload = await store.upload(id, "sha256");
          expect(upload.size).toBe(0);
          await writeAll(upload, bytes, 70_001);
          expect(upload.size).toBe(size);
          expect(await collected(other.list())).toEqual(before);
          const blob = await upload.commit(digestOf(bytes));
          expect(blob.size).toBe(size);
          expect(await bodyOf(other, blob)).toEqual(bytes);
          expect(await other.uploadSize(id)).toBeUndefined();
          expect(await uploadIds(other)).not.toContain(id);
        });

        test(`${size} bytes resume at another handle`, async () => {
          const id = newId();
          const [first, second] = [randomBytes(size), randomBytes(40_000)];
          const progress = await uploaded(store, id, first);
          expect(progress).toMatchObject({ size, digest: digestOf(first) });
          expect(await other.uploadSize(id)).toBe(size === 0 ? undefined : size);
          const upload = await other.upload(id, "sha256");
          expect(upload.size).toBe(size);
          await upload.write(second.slice());
          const whole = Buffer.concat([first, second]);
          const blob = await upload.commit(digestOf(whole), progress);
          expect(await bodyOf(store, blob)).toEqual(new Uint8Array(whole));
        });
      }

      test("suspend tells the digest of all bytes, holder after holder", async () => {
        const id = newId();
        let whole = new Uint8Array(0);
        for (const [handle, size] of [
          [store, 10],
          [store, 100_000],
          [store, 300_000],
          [other, 7],
          [store, 2_000_000],
          [store, 0],
        ] as const) {
          const part = randomBytes(size);
          whole = new Uint8Array(Buffer.concat([whole, part]));
          const progress = await uploaded(handle, id, part);
          expect(progress).toMatchObject({ size: whole.byteLength, digest: digestOf(whole) });
        }
        const blob = await (await store.upload(id, "sha256")).commit(digestOf(whole));
        expect(await bodyOf(other, blob)).toEqual(whole);
      });

      test("a hash kept from an earlier holder is not used for other bytes of the same name", async () => {
        const id = newId();
        await uploaded(store, id, randomBytes(200_000));
        await other.discard(id);
        const bytes = randomBytes(200_000);
        await uploaded(other, id, bytes);
        const more = randomBytes(10);
        const progress = await uploaded(store, id, more);
        expect(progress.digest).toBe(digestOf(Buffer.concat([bytes, more])));
        await store.discard(id);
      });

      for (const size of [1000, 1_000_000]) {
        test(`commit of ${size} bytes with the proof of an earlier holder`, async () => {
          const bytes = randomBytes(size);
          const id = newId();
          const proven = await uploaded(store, id, bytes);
          const blob = await (await other.upload(id, "sha256")).commit(proven.digest, proven);
          expect(await bodyOf(store, blob)).toEqual(bytes);
        });

        test(`commit of ${size} bytes against a proof of other bytes`, async () => {
          const bytes = randomBytes(size);
          const id = newId();
          const proven = await uploaded(store, id, bytes);
          const upload = await store.upload(id, "sha256");
          expect(await failureOf(upload.commit(digestOf(randomBytes(5)), proven))).toBeInstanceOf(
            DigestMismatch,
          );
          expect(await store.uploadSize(id)).toBeUndefined();
        });

        test(`a proof for another size than ${size} proves nothing`, async () => {
          const bytes = randomBytes(size);
          const id = newId();
          const { digest } = await uploaded(store, id, bytes);
          const wrong = { size: size - 1, digest: digestOf(randomBytes(5)), proof: "" };
          const blob = await (await other.upload(id, "sha256")).commit(digest, wrong);
          expect(await bodyOf(store, blob)).toEqual(bytes);
        });

        test(`a proof of other bytes of the same size as ${size} proves nothing`, async () => {
          const id = newId();
          const { digest } = await uploaded(store, id, randomBytes(size));
          const proven = await uploaded(store, newId(), randomBytes(size));
          const upload = await other.upload(id, "sha256");
          expect(await failureOf(upload.commit(proven.digest, proven))).toBeInstanceOf(
            DigestMismatch,
          );
          const again = await uploaded(store, id, randomBytes(size));
          expect(again.size).toBe(size);
          const stale = { ...again, digest };
          const second = await other.upload(id, "sha256");
          await second.abort();
          await uploaded(store, id, randomBytes(size));
          const third = await store.upload(id, "sha256");
          expect(await failureOf(third.commit(digest, stale))).toBeInstanceOf(DigestMismatch);
        });

        test(`what is noted while ${size} bytes are suspended is noted before anybody else holds them`, async () => {
          const id = newId();
          const upload = await store.upload(id, "sha256");
          await upload.write(randomBytes(size));
          let noted: UploadProgress | undefined;
          const progress = await upload.suspend(async (now) => {
            expect(await failureOf(other.upload(id, "sha256"))).toBeInstanceOf(UploadBusy);
            noted = now;
          });
          expect(noted).toEqual(progress);
          await (await other.upload(id, "sha256")).abort();
        });

        test(`${size} bytes are read again for another algorithm`, async () => {
          const bytes = randomBytes(size);
          const id = newId();
          const proven = await uploaded(store, id, bytes);
          const digest = digestOf(bytes, "sha512");
          const blob = await (await store.upload(id, "sha256")).commit(digest, proven);
          expect(await bodyOf(other, blob)).toEqual(bytes);
        });

        test(`sha512 runs along with ${size} bytes`, async () => {
          const bytes = randomBytes(size);
          const upload = await store.upload(newId(), "sha512");
          await writeAll(upload, bytes, 9999);
          const blob = await upload.commit(digestOf(bytes, "sha512"));
          expect(await bodyOf(other, blob)).toEqual(bytes);
        });

        test(`a wrong digest of ${size} bytes keeps nothing and names the right one`, async () => {
          const bytes = randomBytes(size);
          const id = newId();
          const before = await collected(other.list());
          const upload = await store.upload(id, "sha256");
          await writeAll(upload, bytes, 50_000);
          const wrong = digestOf(randomBytes(8));
          const failure = await failureOf(upload.commit(wrong));
          expect(failure).toBeInstanceOf(DigestMismatch);
          expect((failure as DigestMismatch).actual).toBe(digestOf(bytes));
          expect(await other.uploadSize(id)).toBeUndefined();
          expect(await collected(other.list())).toEqual(before);
          const again = await other.upload(id, "sha256");
          expect(again.size).toBe(0);
          await again.abort();
        });

        test(`abort removes ${size} bytes`, async () => {
          const id = newId();
          await uploaded(store, id, randomBytes(size));
          const upload = await other.upload(id, "sha256");
          await writeAll(upload, randomBytes(size), 50_000);
          await upload.abort();
          expect(await store.uploadSize(id)).toBeUndefined();
          expect(await uploadIds(store)).not.toContain(id);
        });
      }

      test("one holder at a time, whichever handle", async () => {
        const id = newId();
        const upload = await store.upload(id, "sha256");
        await upload.write(randomBytes(100_000));
        for (const handle of [store, other]) {
          expect(await failureOf(handle.upload(id, "sha256"))).toBeInstanceOf(UploadBusy);
          expect(await failureOf(handle.discard(id))).toBeInstanceOf(UploadBusy);
        }
        await upload.suspend();
        const next = await other.upload(id, "sha256");
        expect(await failureOf(store.upload(id, "sha256"))).toBeInstanceOf(UploadBusy);
        await next.abort();
        await (await store.upload(id, "sha256")).abort();
      });

      test("of many who reach for an upload at once, one holds it", async () => {
        for (let round = 0; round < 20; round++) {
          const id = newId();
          const tries = await Promise.allSettled(
            Array.from({ length: 8 }, (_, index) =>
              (index % 2 ? store : other).upload(id, "sha256"),
            ),
          );
          const won = tries.filter((attempt) => attempt.status === "fulfilled");
          expect(won.length).toBe(1);
          for (const attempt of tries) {
            if (attempt.status === "rejected") expect(attempt.reason).toBeInstanceOf(UploadBusy);
          }
          await won[0]?.value.abort();
        }
      });

      test("an ended upload takes no more", async () => {
        const upload = await store.upload(newId(), "sha256");
        await upload.write(randomBytes(5));
        await upload.abort();
        expect(await failureOf(upload.write(randomBytes(5)))).toBeInstanceOf(Error);
        expect(await failureOf(upload.suspend())).toBeInstanceOf(Error);
      });

      test("uploads names what has bytes, and discard removes them", async () => {
        const ids = [newId(), newId(), newId()];
        const began = Date.now();
        for (const id of ids) await uploaded(store, id, randomBytes(10));
        const listed = await collected(other.uploads());
        for (const id of ids) {
          const modified = listed.find((upload) => upload.id === id)?.modified ?? 0;
          expect(Math.abs(modified - began)).toBeLessThan(60_000);
          await other.discard(id);
          await store.discard(id);
          expect(await store.uploadSize(id)).toBeUndefined();
        }
        expect(await uploadIds(store)).not.toContain(ids[0]);
      });

      test("an id that could be a path is refused", async () => {
        for (const id of ["", ".", "..", "../x", "a/b", "a\0b", "/x", "x".repeat(65)]) {
          expect(await failureOf(store.upload(id, "sha256"))).toBeInstanceOf(Error);
          expect(await failureOf(store.uploadSize(id))).toBeInstanceOf(Error);
          expect(await failureOf(store.discard(id))).toBeInstanceOf(Error);
        }
      });

      test("64 MiB in odd chunks, written without waiting for each", async () => {
        const hasher = new Bun.CryptoHasher("sha256");
        const upload = await store.upload(newId(), "sha256");
        const total = 64 << 20;
        let waiting: Promise<void>[] = [];
        for (let sent = 0, index = 0; sent < total; index++) {
          const length = Math.min(
            total - sent,
            [1, 4097, 65_536, 300_001, 2_097_153][index % 5] ?? 1,
          );
          const chunk = new Uint8Array(length).fill(index % 251);
          hasher.update(chunk);
          sent += length;
          waiting.push(upload.write(chunk));
          if (waiting.length < 4) continue;
          await Promise.all(waiting);
          waiting = [];
        }
        await Promise.all(waiting);
        const digest = makeDigest("sha256", hasher.digest("hex"));
        const blob = await upload.commit(digest);
        expect(blob.size).toBe(total);
        expect(digestOf(await bodyOf(other, blob))).toBe(digest);
        await store.delete(blob.locator);
      }, 60_000);

      test("uploads side by side do not mix", async () => {
        await Promise.all(
          Array.from({ length: 12 }, async (_, index) => {
            const bytes = randomBytes(index % 3 === 0 ? 20_000 : 1_500_000 + index);
            const upload = await (index % 2 ? store : other).upload(newId(), "sha256");
            await writeAll(upload, bytes, 30_000 + index * 1000);
            const blob = await upload.commit(digestOf(bytes));
            expect(await bodyOf(store, blob)).toEqual(bytes);
          }),
        );
      });

      test("any split of any bytes over chunks and holders gives those bytes", async () => {
        const chunk = fc.oneof(
          fc.integer({ min: 0, max: 300 }),
          fc.integer({ min: 60_000, max: 70_000 }),
          fc.constant(65_536),
        );
        const holders = fc.array(fc.array(chunk, { maxLength: 5 }), { minLength: 1, maxLength: 4 });
        await fc.assert(
          fc.asyncProperty(holders, fc.boolean(), async (holders, isProven) => {
            const id = newId();
            let whole = new Uint8Array(0);
            let proven;
            for (const [index, sizes] of holders.entries()) {
              const upload = await (index % 2 ? other : store).upload(id, "sha256");
              expect(upload.size).toBe(whole.byteLength);
              for (const size of sizes) {
                const part = randomBytes(size);
                whole = new Uint8Array(Buffer.concat([whole, part]));
                await upload.write(part);
              }
              proven = await upload.suspend();
              expect(proven).toMatchObject({ size: whole.byteLength, digest: digestOf(whole) });
            }
            const upload = await store.upload(id, "sha256");
            const blob = await upload.commit(digestOf(whole), isProven ? proven : undefined);
            expect(await bodyOf(other, blob)).toEqual(whole);
            await other.delete(blob.locator);
          }),
          { numRuns: 40 },
        );
      }, 60_000);
    });
  });
}
