/** Blobs on a node's disk that no record names: told from all others, and removed when no push can come to name them. */
import { afterEach, beforeEach, expect, test } from "bun:test";
import { existsSync, mkdtempSync, rmSync, utimesSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../../src/base/clock.ts";
import {
  collected,
  digestOf,
  failureOf,
  newId,
  randomBytes,
} from "../../src/blobs/conformance-tools.ts";
import { BlobStoreUnavailable, type BlobStore, type StoredBlob } from "../../src/blobs/port.ts";
import { eventually, TestCluster } from "../../src/cluster/copies/copies-fixture.ts";
import { keys } from "../../src/meta/keys.ts";
import { StoreUnavailable, type Commit, type MetaStore } from "../../src/meta/port.ts";
import { openWriter } from "../../src/meta/sqlite/index.ts";
import { OciError } from "../../src/oci/errors.ts";
import { parseName } from "../../src/oci/name.ts";
import { encode, type BlobRecord } from "../../src/registry/records.ts";
import { createRegistry, type Registry } from "../../src/registry/registry.ts";
import { prepareSchema } from "../../src/registry/schema.ts";

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

let directory: string;
let meta: MetaStore;
let cluster: TestCluster;
let blobs: BlobStore;
let registry: Registry;
/** The registry's clock against the disks'. */
let later: number;
let isStale: boolean;
let beforeCommit: (commit: Commit) => Promise<void>;

beforeEach(async () => {
  [later, isStale] = [0, false];
  beforeCommit = async () => {};
  directory = mkdtempSync(join(tmpdir(), "holdfast-unknown-"));
  meta = openWriter({ path: join(directory, "meta.db") });
  await prepareSchema(meta, systemClock);
  cluster = await TestCluster.open();
  blobs = await cluster.node(0).open();
  registry = await createRegistry({
    meta: {
      operationsMax: meta.operationsMax,
      get: async (asked) => ({ ...(await meta.get(asked)), stale: isStale }),
      scan: (options) => meta.scan(options),
      commit: async (commit) => {
        await beforeCommit(commit);
        return meta.commit(commit);
      },
      watch: (options) => meta.watch(options),
      close: () => meta.close(),
    },
    blobs,
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
afterEach(async () => {
  await cluster.close();
  await meta.close();
  rmSync(directory, { recursive: true });
});

const trash = async () => (await meta.scan({ prefix: keys.trashes, limit: 10 })).entries.length;
const purge = (metadata = "m1") => registry.purgeUnknown(metadata, FOREVER);

/** Of two equal ones it may be any: a push that was not committed, or a blob. */
async function stored(bytes = randomBytes(1000)): Promise<StoredBlob> {
  const blob = await blobs.put(digestOf(bytes), bytes);
  await eventually(() => copiesOf(blob) === 3);
  return blob;
}

async function known(bytes: Uint8Array<ArrayBuffer>): Promise<StoredBlob> {
  const blob = await stored(bytes);
  const record: BlobRecord = { ...blob, verified: true, at: Date.now() };
  await meta.commit({ put: [{ key: keys.blob(digestOf(bytes)), value: encode(record) }] });
  return blob;
}

function copiesOf({ locator }: StoredBlob): number {
  return cluster.nodes.filter((node) => existsSync(join(node.directory, locator))).length;
}

/** Dates its file on the node's disk so many milliseconds from now. */
function date({ locator }: StoredBlob, from: number): void {
  const time = (Date.now() + from) / 1000;
  utimesSync(join(cluster.node(0).directory, locator), time, time);
}

test("what no record names goes from all nodes once it is beyond any push; all else stays", async () => {
  const older = await stored();
  date(older, -HOUR);
  expect(await purge()).toBe(0);
  const content = randomBytes(1000);
  const blob = await known(content);
  const [second, orphan, young] = [await stored(content), await stored(), await stored()];
  const upload = await blobs.upload(newId(), "sha256");
  await upload.write(randomBytes(70_000));
  await upload.suspend();
  later = 10 * EXPIRY;
  for (const one of [blob, second, orphan]) date(one, HOUR);
  // A session that was ended in its last moment.
  date(young, later - EXPIRY - HOUR);

  isStale = true;
  expect(await failureOf(purge())).toBeInstanceOf(StoreUnavailable);
  isStale = false;
  expect(await purge()).toBe(2);
  expect([blob, second, orphan, young, older].map(copiesOf)).toEqual([3, 0, 0, 3, 3]);
  expect(await trash()).toBe(2);
  expect(await collected(blobs.uploads())).toHaveLength(1);
  later += 23 * HOUR;
  date(young, HOUR);
  expect(await purge()).toBe(0);
  later += 2 * HOUR;
  expect(await purge()).toBe(1);
  expect(copiesOf(young)).toBe(0);
});

test("a node that is away is told by the sweep when it is back", async () => {
  await purge();
  const orphan = await stored();
  date(orphan, HOUR);
  later = 10 * EXPIRY;
  await cluster.node(2).stop();
  expect(await purge()).toBe(1);
  expect(copiesOf(orphan)).toBe(1);
  await cluster.node(2).start();
  expect(await registry.sweepTrash(FOREVER)).toBe(0);
  expect(copiesOf(orphan)).toBe(0);
  later += EXPIRY + HOUR;
  expect(await registry.sweepTrash(FOREVER)).toBe(1);
  expect(await trash()).toBe(0);
});

test("a push whose bytes were taken for unknown ones is not acknowledged, whenever it comes to its commit", async () => {
  await purge();
  later = 10 * EXPIRY;
  const bytes = randomBytes(1000);
  const digest = digestOf(bytes);
  const [reached, opened] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  beforeCommit = async ({ put = [] }) => {
    if (!put.some(({ key }) => key === keys.blob(digest))) return;
    reached.resolve();
    await opened.promise;
  };
  const name = parseName("a");
  if (name === undefined) throw new Error("no name");
  const caller = { subject: "tester", may: () => true };
  const id = registry.openUpload(caller, name, "sha256");
  const content = { length: 1000, bytes: async () => bytes, async *stream() {} };
  const pushed = failureOf(
    registry.finishUpload(caller, name, id, digest, { content, span: undefined }),
  );
  await reached.promise;
  const [blob] = await collected(blobs.list());
  if (blob === undefined) throw new Error("nothing is stored");
  await eventually(() => copiesOf(blob) === 3);
  date(blob, HOUR);
  expect(await purge()).toBe(1);
  expect(await registry.sweepTrash(FOREVER)).toBe(0);
  opened.resolve();
  expect(await pushed).toBeInstanceOf(OciError);
  expect((await meta.get([keys.blob(digest)])).entries).toEqual([undefined]);
});

test("what cannot be removed everywhere keeps nothing else from being removed", async () => {
  const given = [await stored(), await stored()];
  await meta.commit({
    put: given.map(({ locator }) => ({ key: keys.trash(locator), value: "{}" })),
  });
  await cluster.node(2).stop();
  expect(await failureOf(registry.sweepTrash(FOREVER))).toBeInstanceOf(BlobStoreUnavailable);
  expect(given.map(copiesOf)).toEqual([1, 1]);
  expect(await trash()).toBe(2);
});

test("what other metadata may have named stays", async () => {
  await purge();
  const orphan = await stored();
  date(orphan, HOUR);
  later = 10 * EXPIRY;
  expect(await purge("recovered")).toBe(0);
  later += 25 * HOUR;
  expect(await purge("recovered")).toBe(0);
  expect(copiesOf(orphan)).toBe(3);
});
