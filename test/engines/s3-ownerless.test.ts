/** Bytes in a bucket that belong to nobody: found, told from all that belongs to somebody, and removed when old. */
import { afterAll, beforeAll, beforeEach, expect, test } from "bun:test";
import {
  collected,
  digestOf,
  newId,
  randomBytes,
  uploaded,
  writeAll,
} from "../../src/blobs/conformance-tools.ts";
import type { BlobStore, Locator, OwnerlessBytes, StoredBlob } from "../../src/blobs/port.ts";
import { S3Client } from "../../src/blobs/s3/client.ts";
import type { S3Options } from "../../src/blobs/s3/index.ts";
import { dataKey, newStem, restKey, stemIn } from "../../src/blobs/s3/names.ts";
import { systemClock } from "../../src/base/clock.ts";
import { keys } from "../../src/meta/keys.ts";
import type { Digest } from "../../src/oci/digest.ts";
import type { DriftEvent } from "../../src/registry/drift.ts";
import { encode, type BlobRecord } from "../../src/registry/records.ts";
import { createRegistry, type Registry } from "../../src/registry/registry.ts";
import { prepareSchema } from "../../src/registry/schema.ts";
import { describeWith } from "../clients/support/tools.ts";
import { VERSITYGW, type S3Place } from "../support/s3-kinds.ts";
import { startS3Proxy, type S3Proxy } from "../support/s3-proxy.ts";
import { openNodes, type S3Nodes } from "../support/s3-stores.ts";

const MIB = 2 ** 20;
const HOUR = 3_600_000;
const EXPIRY = 30 * HOUR;
const LIMITS = {
  jsonDepth: 50,
  descriptors: 1000,
  manifestBytes: 4_000_000,
  blobBytes: 0,
  tagsPerPush: 10,
  pageEntries: 1000,
  catalogEntries: 1000,
  referrersPageBytes: 4_000_000,
};
const FOREVER = new AbortController().signal;

describeWith(VERSITYGW.programs, "ownerless bytes", () => {
  let server: S3Place;
  let proxy: S3Proxy;
  let nodes: S3Nodes;
  let client: S3Client;
  let a: BlobStore;
  let b: BlobStore;
  let registry: Registry;
  /** The registry's clock against the store's. */
  let later = 0;
  let tests = 0;

  beforeAll(async () => {
    server = await VERSITYGW.open();
    proxy = await startS3Proxy(server.endpoint);
  });
  afterAll(async () => {
    await nodes.close();
    proxy[Symbol.dispose]();
    await server[Symbol.asyncDispose]();
  });
  beforeEach(async () => {
    if (tests > 0) await nodes.close();
    const { bucket } = server;
    const prefix = `t${++tests}/`;
    const s3: S3Options = { bucket, prefix, endpoint: proxy.endpoint, credentials: server };
    client = new S3Client(s3);
    nodes = openNodes(s3);
    [a, b] = [await nodes.node("a"), await nodes.node("b")];
    later = 0;
    await prepareSchema(nodes.meta, systemClock);
    registry = await createRegistry({
      meta: nodes.meta,
      blobs: a,
      clock: { now: () => Date.now() + later },
      options: {
        limits: LIMITS,
        missingBlobs: "reject",
        missingManifests: "reject",
        uploadExpiry: EXPIRY,
        unnamedFor: EXPIRY,
      },
      alarm: () => {},
    });
  });

  /** What a push leaves whose node dies between Complete and the marker, when its note is gone too. */
  async function unmarked(): Promise<string> {
    const key = dataKey(newStem());
    await client.put(key, randomBytes(9 * MIB));
    return key;
  }

  async function objects(): Promise<string[]> {
    return (await collected(client.listAll("data/"))).map(({ key }) => key).sort();
  }

  /** A blob of 9 MiB that a record names. */
  async function pushed(): Promise<StoredBlob & { readonly digest: Digest; readonly key: string }> {
    const bytes = randomBytes(9 * MIB);
    const digest = digestOf(bytes);
    const upload = await a.upload(newId(), "sha256");
    await writeAll(upload, bytes, MIB);
    const blob = await upload.commit(digest);
    const record: BlobRecord = { ...blob, verified: true, at: Date.now() };
    await nodes.meta.commit({ put: [{ key: keys.blob(digest), value: encode(record) }] });
    return { ...blob, digest, key: dataKey(stemIn(blob.locator) ?? "") };
  }

  async function ownerless(known: readonly Locator[] = []): Promise<OwnerlessBytes[]> {
    async function* all(): AsyncIterable<Locator> {
      yield* known;
    }
    if (a.ownerless === undefined) throw new Error("the store cannot tell");
    const found = await collected(a.ownerless(all()));
    return found.toSorted((x, y) => (x.where < y.where ? -1 : 1));
  }

  async function verify(repair: boolean): Promise<Exclude<DriftEvent, { type: "progress" }>[]> {
    const events = await collected(registry.findDrift({ repair, signal: FOREVER }));
    return events.filter((event) => event.type !== "progress");
  }

  test("what an upload, a marker or a record names is none of them", async () => {
    const { key, locator } = await pushed();
    const bare = await pushed();
    await client.delete(bare.locator);
    const [whole, pieced] = [newId(), newId()];
    await uploaded(a, whole, randomBytes(100));
    for (const size of [9 * MIB, 9 * MIB, 300]) await uploaded(b, pieced, randomBytes(size));
    const growing = await b.upload(newId(), "sha256");
    await writeAll(growing, randomBytes(9 * MIB), MIB);
    expect(await ownerless([bare.locator])).toEqual([]);

    // A multipart upload of a blob's key, of a beginning whose answer was lost, goes without the blob.
    const stray = await client.createMultipart(key);
    await client.uploadPart(key, stray, { number: 1, bytes: randomBytes(5 * MIB) });
    const stem = newStem();
    await client.put(restKey(stem), randomBytes(77));
    const crashed = await unmarked();
    const found = await ownerless([bare.locator]);
    expect(found.map(({ where, size }) => [where, size])).toEqual(
      [
        [`multipart upload of ${key}`, 5 * MIB],
        [crashed, 9 * MIB],
        [restKey(stem), 77],
      ].toSorted(([x], [y]) => (String(x) < String(y) ? -1 : 1)),
    );
    for (const { id, modified } of found) {
      expect(Math.abs(modified - Date.now())).toBeLessThan(120_000);
      await b.discard(id);
    }
    expect(await ownerless([bare.locator])).toEqual([]);
    expect(await a.stat(locator)).toBe(9 * MIB);
    expect(await a.uploadSize(whole)).toBe(100);
    expect(await a.uploadSize(pieced)).toBe(18 * MIB + 300);
    await growing.suspend();
    // Without its record the blob that has lost its marker is one of them.
    expect((await ownerless()).map(({ where }) => where)).toEqual([bare.key]);
  }, 120_000);

  test("verify shows them, and with --repair removes the old ones, and nothing else", async () => {
    const kept = await pushed();
    const bare = await pushed();
    await client.delete(bare.locator);
    const crashed = await unmarked();
    const bytes = { where: crashed, size: 9 * MIB };

    for (const repair of [false, true])
      expect(await verify(repair)).toMatchObject([{ type: "ownerless", bytes, fate: "young" }]);
    later = EXPIRY + HOUR;
    expect(await verify(false)).toMatchObject([{ type: "ownerless", bytes, fate: "left" }]);
    expect(await objects()).toContain(crashed);
    expect(await verify(true)).toMatchObject([{ type: "ownerless", bytes, fate: "removed" }]);
    expect(await verify(true)).toEqual([]);
    expect(await objects()).toEqual([kept.key, bare.key].sort());
    expect(await a.stat(kept.locator)).toBe(9 * MIB);
    expect(await a.stat(bare.locator)).toBe(9 * MIB);
  }, 120_000);

  test("the server looks for them once a day, whatever is restarted, and removes the old ones", async () => {
    const kept = await pushed();
    const crashed = await unmarked();
    const run = async (hours: number): Promise<{ purged: number; looked: boolean }> => {
      later = hours * HOUR;
      proxy.clear();
      const purged = await registry.purgeOwnerless(FOREVER);
      return { purged, looked: proxy.requests.length > 0 };
    };
    expect(await run(0)).toEqual({ purged: 0, looked: false });
    expect(await run(23)).toEqual({ purged: 0, looked: false });
    expect(await run(24.1)).toEqual({ purged: 0, looked: true });
    expect(await run(24.2)).toEqual({ purged: 0, looked: false });
    expect(await run(48)).toEqual({ purged: 0, looked: false });
    expect(await objects()).toEqual([kept.key, crashed].sort());
    expect(await run(48.2)).toEqual({ purged: 1, looked: true });
    expect(await objects()).toEqual([kept.key]);
    expect(await run(73)).toEqual({ purged: 0, looked: true });
    expect(await a.stat(kept.locator)).toBe(9 * MIB);
  }, 120_000);
});
