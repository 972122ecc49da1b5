/** Uploads on a bucket over several nodes: continued anywhere, fenced, found out, with few requests. */
import { afterAll, beforeAll, expect, test } from "bun:test";
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
} from "../../../src/blobs/conformance-tools.ts";
import {
  BlobStoreUnavailable,
  UploadBusy,
  type BlobStore,
  type BlobUpload,
  type UploadProgress,
} from "../../../src/blobs/port.ts";
import { S3Client } from "../../../src/blobs/s3/client.ts";
import { openMetaNotes, openS3Store, type S3Options } from "../../../src/blobs/s3/index.ts";
import { keys } from "../../../src/meta/keys.ts";
import { StoreUnavailable } from "../../../src/meta/port.ts";
import { interceptCommits } from "../../protocol/support/stores.ts";
import { until } from "../processes.ts";
import { describeWith } from "../../clients/support/tools.ts";
import { startS3Proxy, type S3Proxy } from "../s3-proxy.ts";
import { openNodes, type S3Nodes } from "../s3-stores.ts";
import type { S3Kind, S3Place } from "../s3-kinds.ts";

const MIB = 1 << 20;

export function s3UploadsSuite(kind: S3Kind): void {
  describeWith(kind.programs, `uploads on ${kind.name}`, () => {
    let server: S3Place;
    let proxy: S3Proxy;
    let s3: S3Options;
    let nodes: S3Nodes;
    let a: BlobStore;
    let b: BlobStore;
    let c: BlobStore;

    beforeAll(async () => {
      server = await kind.open();
      proxy = await startS3Proxy(server.endpoint);
      s3 = { bucket: server.bucket, prefix: "p/", endpoint: proxy.endpoint, credentials: server };
      nodes = openNodes(s3);
      [a, b, c] = [await nodes.node("a"), await nodes.node("b"), await nodes.node("c")];
    });
    afterAll(async () => {
      await nodes.close();
      proxy[Symbol.dispose]();
      await server[Symbol.asyncDispose]();
    });

    /** Keys below the prefix that belong to uploads or to blobs' bytes. */
    async function left(): Promise<string[]> {
      const client = new S3Client(s3);
      const objects = [...(await collected(client.listAll("data/")))].concat(
        await collected(client.listAll("uploads/")),
      );
      const open = await collected(client.openMultiparts("data/"));
      return [...objects, ...open].map(({ key }) => key).sort();
    }

    for (const size of [4096, MIB, 20 * MIB]) {
      test(`requests for ${size} bytes`, async () => {
        const bytes = randomBytes(size);
        const digest = digestOf(bytes);
        const inTwo = async (): Promise<void> => {
          const id = newId();
          const progress = await uploaded(a, id, bytes);
          await (await b.upload(id, "sha256")).commit(digest, progress);
        };
        const inOne = async (): Promise<void> => {
          const upload = await a.upload(newId(), "sha256");
          await writeAll(upload, bytes, 65_536);
          const blob = await upload.commit(digest);
          expect(await bodyOf(c, blob)).toEqual(bytes);
        };
        proxy.clear();
        await inTwo();
        const patchAndPut = proxy.requests.length;
        proxy.clear();
        await inOne();
        const put = proxy.requests.length - 1;
        // PATCH + PUT: the object and its marker. Begin, three parts, complete and marker for what is larger.
        expect([patchAndPut, put]).toEqual(size < 8 * MIB ? [2, 1] : [6, 6]);
      });
    }

    test("pulling takes one request", async () => {
      const bytes = randomBytes(1000);
      const { locator } = await a.put(digestOf(bytes), bytes);
      proxy.clear();
      expect(await a.stat(locator)).toBe(1000);
      expect(await new Response(await a.open(locator, 1000, { start: 1, end: 9 })).bytes()).toEqual(
        bytes.slice(1, 10),
      );
      expect(await a.read(locator, 1000)).toEqual(bytes);
      expect(proxy.requests.map((request) => request.split(" ")[0])).toEqual([
        "HEAD",
        "GET",
        "GET",
      ]);
    });

    test("a session goes on at every node, part by part", async () => {
      const before = await left();
      for (const algorithm of ["sha256", "sha512"] as const) {
        const id = newId();
        const sizes = [9 * MIB, 100, 3 * MIB, 6 * MIB, 17, 11 * MIB + 5];
        const pieces = sizes.map(randomBytes);
        let whole = new Uint8Array(0);
        let progress: UploadProgress | undefined;
        for (const [index, piece] of pieces.entries()) {
          const store = [a, b, c][index % 3] ?? a;
          const upload = await store.upload(id, algorithm);
          expect(upload.size).toBe(whole.byteLength);
          await writeAll(upload, piece, 300_000);
          progress = await upload.suspend();
          whole = new Uint8Array(Buffer.concat([whole, piece]));
          expect(progress).toMatchObject({
            size: whole.byteLength,
            digest: digestOf(whole, algorithm),
          });
          expect(await c.uploadSize(id)).toBe(whole.byteLength);
        }
        const blob = await (
          await c.upload(id, algorithm)
        ).commit(digestOf(whole, algorithm), progress);
        expect(digestOf(await bodyOf(a, blob))).toBe(digestOf(whole));
        expect(await uploadIds(b)).not.toContain(id);
        await a.delete(blob.locator);
      }
      expect(await left()).toEqual(before);
    }, 60_000);

    test("many tiny chunks keep the note small and all bytes", async () => {
      const id = newId();
      let whole = new Uint8Array(0);
      for (let i = 0; i < 150; i++) {
        const piece = randomBytes(1 + (i % 90));
        whole = new Uint8Array(Buffer.concat([whole, piece]));
        await uploaded(i % 2 ? a : b, id, piece);
      }
      const { entries } = await nodes.meta.get([keys.multipart(id)]);
      expect(entries[0]?.value.length).toBeLessThan(6000);
      const blob = await (await c.upload(id, "sha256")).commit(digestOf(whole));
      expect(await bodyOf(a, blob)).toEqual(whole);
      expect(blob.locator).toStartWith("blobs/");
    }, 60_000);

    test("answers of the database that are lost leave nobody locked out", async () => {
      let lost = 1;
      const flaky = interceptCommits(nodes.meta, async (commit) => {
        const result = await nodes.meta.commit(commit);
        if (lost-- > 0) throw new StoreUnavailable("the answer was lost");
        return result;
      });
      const notes = openMetaNotes({ meta: flaky, run: "flaky", isAlive: async () => true });
      const store = await openS3Store({ ...s3, notes });
      const id = newId();
      const bytes = randomBytes(1000);
      const held = async (by: BlobStore): Promise<BlobUpload> => {
        let upload: BlobUpload | undefined;
        const tryIt = async (): Promise<boolean> => {
          upload = await by.upload(id, "sha256").catch(() => undefined);
          return upload !== undefined;
        };
        await until(tryIt, 5000, "a hold that is given up");
        if (upload === undefined) throw new Error("held nothing");
        return upload;
      };

      expect(await failureOf(store.upload(id, "sha256"))).toBeInstanceOf(BlobStoreUnavailable);
      const first = await held(b);
      await first.write(bytes.slice());
      await first.suspend();

      const upload = await held(store);
      lost = 1;
      expect(await failureOf(upload.suspend())).toBeInstanceOf(BlobStoreUnavailable);
      await (await held(b)).suspend();

      const ending = await held(store);
      lost = 1;
      expect(await failureOf(ending.commit(digestOf(bytes)))).toBeInstanceOf(BlobStoreUnavailable);
      await until(async () => (await failureOf(b.discard(id))) === undefined, 5000, "end");
      expect(await uploadIds(b)).not.toContain(id);
      await store.close();
    }, 30_000);

    test("another algorithm than the session's reads the object once", async () => {
      const bytes = randomBytes(9 * MIB);
      const id = newId();
      const progress = await uploaded(a, id, bytes);
      const wrong = digestOf(randomBytes(3), "sha512");
      expect(await failureOf((await b.upload(id, "sha256")).commit(wrong, progress))).toMatchObject(
        {
          actual: digestOf(bytes, "sha512"),
        },
      );
      expect(await b.uploadSize(id)).toBeUndefined();
      const upload = await b.upload(id, "sha256");
      await writeAll(upload, bytes, 500_000);
      const blob = await upload.commit(digestOf(bytes, "sha512"));
      expect(blob.locator).toStartWith("large/sha512/");
      await a.delete(blob.locator);
    });

    test("abort, discard and a wrong digest leave nothing behind", async () => {
      const before = await left();
      for (const sizes of [[100], [9 * MIB], [100, 9 * MIB], [9 * MIB, 9 * MIB, 50]]) {
        for (const way of ["abort", "discard", "mismatch"]) {
          const id = newId();
          for (const size of sizes) await uploaded(a, id, randomBytes(size));
          if (way === "discard") {
            await b.discard(id);
          } else {
            const upload = await b.upload(id, "sha256");
            await upload.write(randomBytes(9 * MIB));
            if (way === "abort") await upload.abort();
            else await failureOf(upload.commit(digestOf(randomBytes(1))));
          }
          expect(await uploadIds(a)).not.toContain(id);
        }
      }
      expect(await left()).toEqual(before);
    }, 60_000);

    for (const way of ["abort", "discard"]) {
      test(`${way} that the store cannot follow is for the purge`, async () => {
        const before = await left();
        const id = newId();
        await uploaded(a, id, randomBytes(9 * MIB));
        const remove = async (): Promise<void> =>
          way === "discard" ? b.discard(id) : (await b.upload(id, "sha256")).abort();
        proxy.judge = (request) => (request.startsWith("DELETE ") ? "cut" : "pass");
        expect(await failureOf(remove())).toBeInstanceOf(BlobStoreUnavailable);
        proxy.judge = () => "pass";
        expect(await a.uploadSize(id)).toBeUndefined();
        expect(await uploadIds(a)).toContain(id);
        await a.discard(id);
        expect(await uploadIds(a)).not.toContain(id);
        expect(await left()).toEqual(before);
      }, 20_000);
    }

    test("a holder that dies holds nothing, and what it sent goes", async () => {
      const before = await left();
      const id = newId();
      const first = randomBytes(9 * MIB);
      await uploaded(a, id, first);
      const mortal = await nodes.node("mortal");
      const upload = await mortal.upload(id, "sha256");
      await upload.write(randomBytes(20 * MIB));
      expect(await failureOf(b.upload(id, "sha256"))).toBeInstanceOf(UploadBusy);
      nodes.kill("mortal");

      const next = await b.upload(id, "sha256");
      expect(next.size).toBe(first.byteLength);
      const second = randomBytes(9 * MIB);
      await writeAll(next, second, MIB);
      // The dead one was only cut off: what it says now counts for nothing.
      expect(await failureOf(upload.suspend())).toBeInstanceOf(BlobStoreUnavailable);
      const whole = Buffer.concat([first, second]);
      const blob = await next.commit(digestOf(whole));
      expect(digestOf(await bodyOf(c, blob))).toBe(digestOf(whole));
      await a.delete(blob.locator);
      // Nobody waits for what a fenced holder removes.
      const isClean = async (): Promise<boolean> => Bun.deepEquals(await left(), before);
      await until(isClean, 10_000, "what the dead one sent to go");
    }, 30_000);

    for (const way of ["commit", "abort", "mismatch"] as const) {
      test(`${way} of a holder that was fenced harms nothing`, async () => {
        const run = `fenced-${way}`;
        const id = newId();
        const bytes = randomBytes(9 * MIB);
        await uploaded(a, id, bytes);
        const old = await (await nodes.node(run)).upload(id, "sha256");
        nodes.kill(run);
        const next = await b.upload(id, "sha256");
        const wrong = digestOf(randomBytes(4));
        const act = {
          commit: () => old.commit(digestOf(bytes)),
          abort: () => old.abort(),
          mismatch: () => old.commit(wrong),
        };
        expect(await failureOf(act[way]())).toBeInstanceOf(BlobStoreUnavailable);
        const blob = await next.commit(digestOf(bytes));
        expect(digestOf(await bodyOf(c, blob))).toBe(digestOf(bytes));
        await a.delete(blob.locator);
      });
    }

    for (const times of [1, Infinity]) {
      test(`the answer to Complete lost ${times} times is found out`, async () => {
        const bytes = randomBytes(9 * MIB);
        let lost = 0;
        proxy.judge = (request) =>
          /^POST .*uploadId=/.test(request) && lost++ < times ? "lose" : "pass";
        const upload = await a.upload(newId(), "sha256");
        await writeAll(upload, bytes, MIB);
        const blob = await upload.commit(digestOf(bytes));
        proxy.judge = () => "pass";
        expect(lost).toBeGreaterThan(1);
        expect(digestOf(await bodyOf(b, blob))).toBe(digestOf(bytes));
      }, 30_000);
    }

    test("an error inside a 200 of Complete is an error, and keeps what was there", async () => {
      const id = newId();
      const bytes = randomBytes(9 * MIB);
      const more = randomBytes(10);
      await uploaded(a, id, bytes);
      await uploaded(a, id, more);
      const error = `<Error><Code>InternalError</Code></Error>`;
      proxy.judge = (request) =>
        /^POST .*uploadId=/.test(request)
          ? {
              answer: `HTTP/1.1 200 OK\r\nContent-Length: ${error.length}\r\nConnection: close\r\n\r\n${error}`,
            }
          : "pass";
      const digest = digestOf(Buffer.concat([bytes, more]));
      expect(await failureOf((await b.upload(id, "sha256")).commit(digest))).toBeInstanceOf(
        BlobStoreUnavailable,
      );
      proxy.judge = () => "pass";
      expect(await b.uploadSize(id)).toBe(bytes.byteLength + 10);
      const blob = await (await b.upload(id, "sha256")).commit(digest);
      expect(digestOf(await bodyOf(a, blob))).toBe(digest);
    }, 30_000);

    test("cut and refused requests are made again", async () => {
      const bytes = randomBytes(20 * MIB);
      const slow = `HTTP/1.1 503 Slow\r\nRetry-After: 0\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`;
      const tries = new Map<string, number>();
      proxy.judge = (request) => {
        const before = tries.get(request) ?? 0;
        tries.set(request, before + 1);
        return (["cut", { answer: slow }, "lose"] as const)[before] ?? "pass";
      };
      const upload = await a.upload(newId(), "sha256");
      await writeAll(upload, bytes, MIB);
      const blob = await upload.commit(digestOf(bytes));
      expect(digestOf(await bodyOf(b, blob))).toBe(digestOf(bytes));
      proxy.judge = () => "pass";
      expect([...tries.values()].every((count) => count >= 4)).toBe(true);
    }, 60_000);

    test("bytes that change on their way are refused by the store, and sent again", async () => {
      const bytes = randomBytes(20 * MIB);
      proxy.corrupt = 2;
      proxy.clear();
      const upload = await a.upload(newId(), "sha256");
      await writeAll(upload, bytes, MIB);
      const blob = await upload.commit(digestOf(bytes));
      expect(proxy.corrupt).toBe(0);
      expect(proxy.requests.length).toBeGreaterThan(6);
      expect(digestOf(await bodyOf(b, blob))).toBe(digestOf(bytes));
    });

    test("an upload whose parts the store has dropped ends, so that the client begins anew", async () => {
      const client = new S3Client(s3);
      for (const way of ["write", "commit"]) {
        const id = newId();
        const known = (await collected(client.openMultiparts("data/"))).map(
          (open) => open.uploadId,
        );
        const whole = randomBytes(19 * MIB);
        await uploaded(a, id, whole.slice(0, 9 * MIB));
        const progress = await uploaded(b, id, whole.slice(9 * MIB));
        for (const { key, uploadId } of await collected(client.openMultiparts("data/"))) {
          if (!known.includes(uploadId)) await client.abortMultipart(key, uploadId);
        }
        const upload = await c.upload(id, "sha256");
        if (way === "write") {
          // The writes may all be taken before the first part has failed.
          await failureOf(writeAll(upload, whole, MIB));
          expect(await failureOf(upload.suspend())).toBeInstanceOf(BlobStoreUnavailable);
          expect(upload.size).toBe(0);
        } else {
          expect(await failureOf(upload.commit(digestOf(whole), progress))).toBeInstanceOf(
            BlobStoreUnavailable,
          );
        }
        expect(await a.uploadSize(id)).toBeUndefined();
        expect(await uploadIds(a)).not.toContain(id);
      }
    }, 30_000);

    test("a store that is away fails the push within its time, and the session goes on later", async () => {
      const id = newId();
      await uploaded(a, id, randomBytes(1000));
      proxy.judge = () => "cut";
      const upload = await a.upload(id, "sha256");
      const began = Date.now();
      const failure = await failureOf(writeAll(upload, randomBytes(9 * MIB), MIB));
      expect(failure).toBeInstanceOf(BlobStoreUnavailable);
      expect((failure as Error).message).toContain("storage.s3.endpoint");
      expect(Date.now() - began).toBeLessThan(20_000);
      expect(upload.size).toBe(1000);
      await upload.suspend();
      proxy.judge = () => "pass";
      expect(await b.uploadSize(id)).toBe(1000);
      await b.discard(id);
    }, 60_000);

    test("multipart uploads and rests that nobody noted are found and removed", async () => {
      const client = new S3Client(s3);
      const key = `data/ab/ab${"c".repeat(24)}`;
      await client.createMultipart(key);
      await client.put(`uploads/${"d".repeat(26)}`, randomBytes(5));
      const held = newId();
      const upload = await a.upload(held, "sha256");
      await upload.write(randomBytes(9 * MIB));
      const found = (await collected(b.uploads())).filter(({ id }) => id.startsWith("lost-"));
      // Others may be there: of beginnings whose answer was lost and that were made again.
      expect(found.map(({ id }) => id)).toContain(`lost-ab${"c".repeat(24)}`);
      expect(found.map(({ id }) => id)).toContain(`lost-${"d".repeat(26)}`);
      for (const { id, modified } of found) {
        expect(Math.abs(modified - Date.now())).toBeLessThan(120_000);
        await b.discard(id);
      }
      expect((await uploadIds(b)).filter((id) => id.startsWith("lost-"))).toEqual([]);
      expect(await collected(client.openMultiparts("data/"))).toHaveLength(1);
      await upload.abort();
    });
  });
}
