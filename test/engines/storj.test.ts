/** What Storj's gateway and the way to it do on a bad day, each against the engine on a real S3 server. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
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
} from "../../src/blobs/conformance-tools.ts";
import { makeDigest } from "../../src/oci/digest.ts";
import {
  BlobStoreFull,
  BlobStoreUnavailable,
  DigestMismatch,
  type BlobStore,
  type StoredBlob,
} from "../../src/blobs/port.ts";
import { S3Client } from "../../src/blobs/s3/client.ts";
import { dataKey, newStem } from "../../src/blobs/s3/names.ts";
import { openS3Objects, probeS3, type S3Options } from "../../src/blobs/s3/index.ts";
import { describeWith } from "../clients/support/tools.ts";
import { NO_RULES, STORJ_RULES, type S3Quirks, type S3Request } from "../support/s3-quirks.ts";
import { openNodes, type S3Nodes } from "../support/s3-stores.ts";
import { startStorjGateway, type StorjGateway } from "../support/storj-gateway.ts";

const MIB = 1 << 20;
const PATIENCE = { answer: 1000, idle: 1000, operation: 5000 };
const HASTE = { answer: 300, idle: 300, operation: 1500 };

describeWith(["versitygw"], "Storj", () => {
  let storj: StorjGateway;
  let gateway: S3Quirks;
  let options: S3Options;
  let nodes: S3Nodes;
  let store: BlobStore;
  let other: BlobStore;
  let hasty: BlobStore;

  beforeAll(async () => {
    storj = await startStorjGateway();
    ({ gateway } = storj);
    options = await storj.options("registry/", PATIENCE);
    nodes = openNodes(options);
    store = await nodes.node("one");
    other = await nodes.node("two");
    hasty = await nodes.node("three", { patience: HASTE });
  });
  afterAll(async () => {
    await nodes.close();
    await storj[Symbol.asyncDispose]();
    // Thousands of files go with the server.
  }, 30_000);
  afterEach(() => {
    Object.assign(gateway, { latency: 0, bytesPerSecond: 0, deleteDelay: 0 });
    gateway.rules = { ...STORJ_RULES };
    gateway.clear();
  });

  const only =
    (...operations: string[]) =>
    ({ operation }: S3Request): boolean =>
      operations.includes(operation);

  /** The whole way of a blob in one request: written in one turn, committed, read back from another node. */
  async function pushed(bytes: Uint8Array): Promise<StoredBlob> {
    const upload = await store.upload(newId(), "sha256");
    try {
      await writeAll(upload, bytes, 300_000);
    } catch (error) {
      await upload.abort();
      throw error;
    }
    const blob = await upload.commit(digestOf(bytes));
    expect(Buffer.compare(await bodyOf(other, blob), bytes)).toBe(0);
    return blob;
  }

  /** What is left of uploads when the purge has been there; it may find what nobody was told of, and nothing else. */
  async function leftOver(): Promise<string[]> {
    for (const id of await uploadIds(store)) {
      expect(id).toStartWith("lost-");
      await store.discard(id);
    }
    return uploadIds(store);
  }

  async function elapsed(work: Promise<unknown>): Promise<number> {
    const start = performance.now();
    await work;
    return performance.now() - start;
  }

  test("a grant is all it takes: the credentials that it was registered for open the bucket", async () => {
    const blob = await pushed(randomBytes(1000));
    expect(await store.stat(blob.locator)).toBe(1000);
    expect(storj.auth.registered).toEqual([storj.accessGrant]);
    expect(gateway.refused()).toEqual([]);
  });

  test("the probe says what such a gateway does", async () => {
    expect(await probeS3(options)).toMatchObject({
      ifNoneMatch: "honoured",
      etag: "quoted",
      listing: "unsorted",
      listsMultiparts: true,
    });
    // It has to write one name twice, and waits for it.
    expect(gateway.refused().map(({ rule }) => rule)).toEqual(["writeInterval"]);
  });

  describe("rules", () => {
    test("listings longer than a page and in no order: every blob once, in the order of locators", async () => {
      const far = openNodes({ ...options, prefix: "many/" });
      const many = await far.node("lister");
      const names: string[] = [];
      for (let round = 0; round < 11; round++) {
        const puts = Array.from({ length: 100 }, async () => {
          const bytes = randomBytes(8);
          return (await many.put(digestOf(bytes), bytes)).locator;
        });
        names.push(...(await Promise.all(puts)));
      }
      gateway.clear();
      const listed = (await collected(many.list())).map(({ locator }) => locator);
      expect(listed).toEqual(listed.toSorted());
      expect([...listed]).toEqual(names.toSorted() as typeof listed);
      expect(await collected(many.list(listed[700]))).toHaveLength(listed.length - 701);
      expect(gateway.refused()).toEqual([]);
      expect(gateway.counts()["ListObjectsV2"]).toBeGreaterThan(2);
      await far.close();
    }, 60_000);

    test("more open multipart uploads than a page are all found", async () => {
      const far = { ...options, prefix: "open/" };
      const client = new S3Client(far);
      for (let round = 0; round < 11; round++) {
        const begun = Array.from({ length: 100 }, () => client.createMultipart(dataKey(newStem())));
        await Promise.all(begun);
      }
      const lister = openNodes(far);
      expect(await uploadIds(await lister.node("lister"))).toHaveLength(1100);
      expect(gateway.refused()).toEqual([]);
      await lister.close();
    }, 60_000);

    test("parts that were sent twice are no strays", async () => {
      using lost = gateway.inject({ lose: true }, { when: only("UploadPart"), times: 2 });
      await pushed(randomBytes(30 * MIB));
      expect(lost.hits).toBe(2);
      expect(gateway.refused()).toEqual([]);
    });

    test("an upload of many small turns ends without a part that is too small", async () => {
      const bytes = randomBytes(25 * MIB);
      const id = newId();
      const [a, b] = [3 * MIB, 17 * MIB];
      await uploaded(store, id, bytes.subarray(0, a));
      await uploaded(other, id, bytes.subarray(a, b));
      const upload = await store.upload(id, "sha256");
      await writeAll(upload, bytes.subarray(b), 100_000);
      const blob = await upload.commit(digestOf(bytes));
      expect(Buffer.compare(await bodyOf(other, blob), bytes)).toBe(0);
      expect(gateway.refused()).toEqual([]);
    });

    test("the second write of a second to one name waits for its turn", async () => {
      const objects = openS3Objects({ ...options, ifNoneMatch: true });
      const text = (word: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(word);
      await objects.put("hot.json", text("one"));
      expect(await objects.put("hot.json", text("two"))).toBe(true);
      expect(await objects.get("hot.json")).toEqual(text("two"));
      expect(gateway.refused("writeInterval").length).toBeGreaterThan(0);
    });

    test("a project's rate is lived with", async () => {
      gateway.rules.requestsPerSecond = 20;
      const puts = Array.from({ length: 40 }, async () => {
        const bytes = randomBytes(100);
        return store.put(digestOf(bytes), bytes);
      });
      expect(await Promise.all(puts)).toHaveLength(40);
      expect(gateway.refused("requestsPerSecond").length).toBeGreaterThan(0);
    }, 30_000);

    test("If-Match means nothing there, and nothing is built on it", async () => {
      await pushed(randomBytes(9 * MIB));
      await uploadIds(store);
      gateway.rules.ignoreIfMatch = false;
      // A store that would refuse every If-Match sees none.
      using refused = gateway.inject(
        { answer: 412, code: "PreconditionFailed" },
        { when: ({ head }) => head.headers.some(([name]) => name.toLowerCase() === "if-match") },
      );
      await pushed(randomBytes(9 * MIB));
      expect(refused.hits).toBe(0);
    });

    test("a delete that takes effect later disturbs nothing", async () => {
      const blob = await pushed(randomBytes(9 * MIB));
      gateway.deleteDelay = 300;
      await store.delete(blob.locator);
      await store.delete(blob.locator);
      gateway.deleteDelay = 0;
      await Bun.sleep(700);
      expect(await other.stat(blob.locator)).toBeUndefined();
      expect((await collected(store.list())).map(({ locator }) => locator)).not.toContain(
        blob.locator,
      );
    });
  });

  describe("what passes is waited for:", () => {
    const OPERATIONS = [
      "PutObject",
      "CreateMultipartUpload",
      "UploadPart",
      "CompleteMultipartUpload",
      "GetObject",
    ] as const;

    test.each(OPERATIONS)(
      "SlowDown to %s",
      async (operation) => {
        using slow = gateway.inject(
          { answer: 429, code: "SlowDown", headers: { "Retry-After": "1" } },
          { when: only(operation), times: 2 },
        );
        expect(await elapsed(pushed(randomBytes(12 * MIB)))).toBeGreaterThan(990);
        expect(slow.hits).toBe(2);
      },
      20_000,
    );

    test.each(OPERATIONS)(
      "an answer to %s that gets lost",
      async (operation) => {
        using lost = gateway.inject({ lose: true }, { when: only(operation), times: 2 });
        await pushed(randomBytes(12 * MIB));
        expect(lost.hits).toBe(2);
        expect(await leftOver()).toEqual([]);
      },
      20_000,
    );

    test.each(["PutObject", "UploadPart"])(
      "a %s that breaks off on its way",
      async (operation) => {
        using cut = gateway.inject({ cutRequest: 50_000 }, { when: only(operation), times: 2 });
        await pushed(randomBytes(operation === "PutObject" ? 2 * MIB : 12 * MIB));
        expect(cut.hits).toBe(2);
      },
      20_000,
    );

    test.each([true, false])(
      "a download that breaks off, gently: %p",
      async (gently) => {
        const bytes = randomBytes(12 * MIB);
        const blob = await pushed(bytes);
        using cut = gateway.inject(
          { cutAnswer: 3 * MIB, gently },
          { when: only("GetObject"), times: 3 },
        );
        expect(Buffer.compare(await bodyOf(store, blob), bytes)).toBe(0);
        const part = await store.open(blob.locator, blob.size, { start: 100, end: 11 * MIB });
        const whole = await new Response(part).bytes();
        expect(Buffer.compare(whole, bytes.subarray(100, 11 * MIB + 1))).toBe(0);
        expect(cut.hits).toBe(3);
      },
      20_000,
    );

    test("the gateway itself away for a second", async () => {
      await gateway.refuseConnections();
      const failure = failureOf(pushed(randomBytes(12 * MIB)));
      await Bun.sleep(1000);
      await gateway.listen();
      expect(await failure).toBeUndefined();
    }, 20_000);

    test("a slow way there holds the client back, and memory with it", async () => {
      gateway.bytesPerSecond = 40 * MIB;
      const upload = await store.upload(newId(), "sha256");
      const chunk = randomBytes(MIB);
      const hash = new Bun.CryptoHasher("sha256");
      let accepted = 0;
      let waiting = 0;
      for (let i = 0; i < 100; i++) {
        hash.update(chunk);
        await upload.write(chunk.slice());
        accepted += chunk.byteLength;
        const sent = gateway.log.reduce((sum, request) => sum + request.sent, 0);
        waiting = Math.max(waiting, accepted - sent);
      }
      const blob = await upload.commit(makeDigest("sha256", hash.digest("hex")));
      gateway.bytesPerSecond = 0;
      expect(await other.stat(blob.locator)).toBe(100 * MIB);
      expect(waiting).toBeLessThan(64 * MIB);
    }, 30_000);

    test("connections that break in the middle of everything", async () => {
      const pushes = Array.from({ length: 4 }, () => failureOf(pushed(randomBytes(20 * MIB))));
      for (let round = 0; round < 3; round++) {
        await Bun.sleep(150);
        await gateway.refuseConnections();
        await gateway.listen();
      }
      expect(await Promise.all(pushes)).toEqual(Array.from({ length: 4 }, () => undefined));
    }, 60_000);
  });

  describe("what does not pass is said:", () => {
    test.each(["StorageLimitExceeded", "SegmentsLimitExceeded"])(
      "%s is a full store, and nothing is kept",
      async (code) => {
        using full = gateway.inject(
          { answer: 403, code },
          { when: only("PutObject", "CreateMultipartUpload", "UploadPart") },
        );
        for (const size of [1000, 12 * MIB])
          expect(await failureOf(pushed(randomBytes(size)))).toBeInstanceOf(BlobStoreFull);
        const bytes = randomBytes(10);
        expect(await failureOf(store.put(digestOf(bytes), bytes))).toBeInstanceOf(BlobStoreFull);
        expect(full.hits).toBeLessThan(10);
        expect(await leftOver()).toEqual([]);
      },
    );

    test("BandwidthLimitExceeded is no absence", async () => {
      const blob = await pushed(randomBytes(1000));
      using _ = gateway.inject(
        { answer: 403, code: "BandwidthLimitExceeded" },
        { when: only("GetObject", "HeadObject") },
      );
      for (const work of [
        () => store.open(blob.locator, 1000),
        () => store.read(blob.locator, 1000),
        () => store.stat(blob.locator),
      ]) {
        const failure = await failureOf(work());
        expect(failure).toBeInstanceOf(BlobStoreUnavailable);
        expect(failure).not.toBeInstanceOf(BlobStoreFull);
      }
    });

    test.each(["request", "answer"] as const)(
      "a gateway that hangs (%s) is unavailable in good time",
      async (hang) => {
        const blob = await pushed(randomBytes(1000));
        using _ = gateway.inject({ hang });
        const bytes = randomBytes(1000);
        const works = [
          hasty.put(digestOf(bytes), bytes),
          hasty.stat(blob.locator),
          hasty.read(blob.locator, 1000),
          collected(hasty.list()),
          hasty.delete(blob.locator),
        ].map((work) => failureOf(work));
        const took = await elapsed(Promise.all(works));
        for (const work of works) expect(await work).toBeInstanceOf(BlobStoreUnavailable);
        expect(took).toBeLessThan(HASTE.operation + HASTE.answer + 1000);
      },
      20_000,
    );

    test("a download that stalls ends in an error, never short", async () => {
      const blob = await pushed(randomBytes(12 * MIB));
      using _ = gateway.inject({ cutAnswer: 10_000 }, { when: only("GetObject") });
      using again = gateway.inject({ hang: "answer" }, { when: only("GetObject") });
      const body = await hasty.open(blob.locator, blob.size);
      _[Symbol.dispose]();
      const failure = await failureOf(new Response(body).bytes());
      expect(failure).toBeInstanceOf(Error);
      expect(again.hits).toBeGreaterThan(0);
    }, 20_000);

    test("wrong bytes are found out, whatever the network does", async () => {
      using _ = gateway.inject({ lose: true }, { when: only("PutObject"), times: 1 });
      const upload = await store.upload(newId(), "sha256");
      await writeAll(upload, randomBytes(1000), 100);
      const failure = await failureOf(upload.commit(digestOf(randomBytes(1000))));
      expect(failure).toBeInstanceOf(DigestMismatch);
    });
  });

  describe("written once:", () => {
    test("what is there stays, however many write it", async () => {
      gateway.rules = { ...STORJ_RULES, writeInterval: 0 };
      const objects = openS3Objects({ ...options, ifNoneMatch: true });
      const put = (text: string): Promise<boolean> =>
        objects.put("once.json", new TextEncoder().encode(text), { ifAbsent: true });
      expect(await put("first")).toBe(true);
      const puts = Array.from({ length: 12 }, (_, i) => put(`${i}`));
      expect((await Promise.all(puts)).filter(Boolean)).toEqual([]);
    });

    test("an answer that gets lost on a connection that has lived is no other writer", async () => {
      gateway.rules = { ...NO_RULES };
      const objects = openS3Objects({ ...options, ifNoneMatch: true });
      for (let round = 0; round < 5; round++) {
        await objects.get("none");
        using lost = gateway.inject({ lose: true }, { when: only("PutObject"), times: 1 });
        const name = `mine-${round}.json`;
        expect(await objects.put(name, randomBytes(10), { ifAbsent: true })).toBe(true);
        expect(lost.hits).toBe(1);
        expect(await objects.put(name, randomBytes(10), { ifAbsent: true })).toBe(false);
      }
    });
  });
});
