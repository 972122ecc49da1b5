/** Bodies from and to a bucket: flat memory, resumed where they break, never cut short in silence. */
import { afterAll, afterEach, beforeAll, expect, test } from "bun:test";
import { digestOf, failureOf, randomBytes } from "../../../src/blobs/conformance-tools.ts";
import { BlobStoreUnavailable, type BlobStore, type StoredBlob } from "../../../src/blobs/port.ts";
import { openS3Objects } from "../../../src/blobs/s3/index.ts";
import type { S3Options } from "../../../src/blobs/s3/index.ts";
import { describeWith } from "../../clients/support/tools.ts";
import { until } from "../processes.ts";
import { startS3Proxy, type S3Proxy } from "../s3-proxy.ts";
import { openNodes, type S3Nodes } from "../s3-stores.ts";
import type { S3Kind, S3Place } from "../s3-kinds.ts";

const MIB = 1 << 20;

export function s3StreamsSuite(kind: S3Kind): void {
  describeWith(kind.programs, `bodies on ${kind.name}`, () => {
    let server: S3Place;
    let proxy: S3Proxy;
    let s3: S3Options;
    let nodes: S3Nodes;
    let store: BlobStore;
    const bytes = randomBytes(20 * MIB);
    let blob: StoredBlob;

    beforeAll(async () => {
      server = await kind.open();
      proxy = await startS3Proxy(server.endpoint);
      s3 = { bucket: server.bucket, endpoint: proxy.endpoint, credentials: server };
      nodes = openNodes(s3);
      store = await nodes.node("a");
      blob = await store.put(digestOf(bytes), bytes);
    });
    afterEach(() => {
      proxy.judge = () => "pass";
      proxy.rate = Infinity;
    });
    afterAll(async () => {
      await nodes.close();
      proxy[Symbol.dispose]();
      await server[Symbol.asyncDispose]();
    });

    async function open(from: BlobStore = store): Promise<ReadableStream<Uint8Array<ArrayBuffer>>> {
      const body = await from.open(blob.locator, blob.size);
      if (!(body instanceof ReadableStream)) throw new Error("a stream was expected");
      return body;
    }

    test("a body that breaks goes on where it stopped", async () => {
      const cuts = [3 * MIB, 5000, 6 * MIB];
      proxy.clear();
      proxy.judge = () => ({ bytes: cuts.shift() ?? Infinity });
      expect(digestOf(await new Response(await open()).bytes())).toBe(digestOf(bytes));
      expect(proxy.requests.length).toBe(4);
    });

    test("a body that cannot go on ends in an error, not before its end", async () => {
      let count = 0;
      proxy.judge = () => (count++ === 0 ? { bytes: 3 * MIB } : "cut");
      const body = await open();
      let got = 0;
      const failure = await failureOf(
        (async () => {
          for await (const chunk of body) got += chunk.byteLength;
        })(),
      );
      expect(failure).toBeInstanceOf(BlobStoreUnavailable);
      expect(got).toBeGreaterThan(0);
      expect(got).toBeLessThan(bytes.byteLength);
    }, 60_000);

    test("a body whose object goes away ends in an error", async () => {
      const put = await store.put(digestOf(bytes), bytes);
      proxy.judge = () => ({ bytes: 3 * MIB });
      const body = await store.open(put.locator, put.size);
      if (!(body instanceof ReadableStream)) throw new Error("a stream was expected");
      const reader = body.getReader();
      await reader.read();
      await store.delete(put.locator);
      const rest = async (): Promise<void> => {
        while (!(await reader.read()).done);
      };
      expect(String(await failureOf(rest()))).toContain("went away");
    });

    test("a store that falls silent in the middle is given up after the idle time", async () => {
      const impatient = await nodes.node("impatient", {
        patience: { answer: 500, idle: 300, operation: 1000 },
      });
      const body = await open(impatient);
      const reader = body.getReader();
      await reader.read();
      process.kill(server.pid, "SIGSTOP");
      try {
        const began = Date.now();
        const rest = async (): Promise<void> => {
          while (!(await reader.read()).done);
        };
        expect(await failureOf(rest())).toBeInstanceOf(BlobStoreUnavailable);
        expect(Date.now() - began).toBeLessThan(20_000);
      } finally {
        process.kill(server.pid, "SIGCONT");
      }
    }, 60_000);

    test("who stops reading ends the request", async () => {
      const body = await open();
      const reader = body.getReader();
      await reader.read();
      await reader.cancel();
      proxy.clear();
      await store.stat(blob.locator);
      expect(proxy.requests.length).toBe(1);
    });

    test("a presigned URL needs nothing else", async () => {
      const url = await store.presign?.(blob.locator, 60);
      const response = await fetch(url ?? "", { headers: { range: "bytes=5-9" } });
      expect(response.status).toBe(206);
      expect(await response.bytes()).toEqual(bytes.slice(5, 10));
      const expired = await store.presign?.(blob.locator, 1);
      await until(async () => (await fetch(expired ?? "")).status === 403, 5000, "the URL's end");
    });

    test("objects: what is there stays, also where an answer is lost", async () => {
      const objects = openS3Objects({ ...s3, prefix: "o/", ifNoneMatch: true });
      // That one of several at the same moment wins is the store's to keep, and versitygw does not always.
      const first = new Uint8Array([100]);
      expect(await objects.put("journal/1", first, { ifAbsent: true })).toBe(true);
      const wins = await Promise.all(
        Array.from({ length: 20 }, async (_, index) =>
          objects.put("journal/1", new Uint8Array([index]), { ifAbsent: true }),
        ),
      );
      expect(wins.filter(Boolean)).toEqual([]);
      expect(await objects.get("journal/1")).toEqual(first);

      let count = 0;
      proxy.judge = () => (count++ === 0 ? "lose" : "pass");
      expect(await objects.put("owner", new Uint8Array([7]), { ifAbsent: true })).toBe(true);
      expect(await objects.put("owner", new Uint8Array([7]), { ifAbsent: true })).toBe(false);

      const names: string[] = [];
      for await (const { name, size } of objects.list("")) names.push(`${name} ${size}`);
      expect(names.sort()).toEqual(["journal/1 1", "owner 1"]);
      await objects.delete("owner");
      await objects.delete("owner");
      expect(await objects.get("owner")).toBeUndefined();
      for (const name of ["", "/a", "a/", "../a", "a//b", "a b"]) {
        expect(await failureOf(objects.get(name))).toBeInstanceOf(Error);
      }
    });
  });
}
