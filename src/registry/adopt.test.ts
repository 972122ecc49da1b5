import { afterEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../base/clock.ts";
import { openDistributionLayout } from "../blobs/file/distribution-layout.ts";
import { openFileStore } from "../blobs/file/store.ts";
import type { ForeignLayout } from "../blobs/foreign.ts";
import { BlobStoreUnavailable } from "../blobs/port.ts";
import { keys } from "../meta/keys.ts";
import type { MetaStore } from "../meta/port.ts";
import { openWriter } from "../meta/sqlite/index.ts";
import { parseName, parseTag, type RepositoryName, type Tag } from "../oci/name.ts";
import { ForeignFiles } from "../../test/adoption/support/foreign-files.ts";
import { createRegistry, type Registry } from "./registry.ts";
import type { Run } from "./list.ts";
import { prepareSchema } from "./schema.ts";

const cleanups: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

function name(text: string): RepositoryName {
  const parsed = parseName(text);
  if (parsed === undefined) throw new Error(text);
  return parsed;
}

function tagged(text: string): Tag {
  const parsed = parseTag(text);
  if (parsed === undefined) throw new Error(text);
  return parsed;
}

function directory(): string {
  const data = mkdtempSync(join(tmpdir(), "holdfast-adopter-"));
  cleanups.push(() => rmSync(data, { recursive: true, force: true }));
  return data;
}

async function openMeta(data: string): Promise<MetaStore> {
  const meta = openWriter({ path: join(data, "metadata", "test.db") });
  cleanups.push(() => meta.close());
  await prepareSchema(meta, systemClock);
  return meta;
}

interface Opened {
  readonly registry: Registry;
  readonly alarms: string[];
}

/** `wrap` gets between the registry and the real directory. */
async function open(
  data: string,
  meta: MetaStore,
  wrap: (layout: ForeignLayout) => ForeignLayout = (layout) => layout,
): Promise<Opened> {
  const blobs = await openFileStore({ directory: data });
  cleanups.push(() => blobs.close());
  const layout = openDistributionLayout(data);
  const alarms: string[] = [];
  const registry = await createRegistry({
    meta,
    blobs,
    foreign: layout && wrap(layout),
    options: {
      limits: {
        jsonDepth: 50,
        descriptors: 1000,
        manifestBytes: 4_000_000,
        blobBytes: 0,
        tagsPerPush: 10,
        pageEntries: 1000,
        catalogEntries: 1000,
        referrersPageBytes: 4_000_000,
      },
      missingBlobs: "reject",
      missingManifests: "reject",
      uploadExpiry: 60_000,
      unnamedFor: 60_000,
    },
    alarm: (message) => alarms.push(message),
  });
  return { registry, alarms };
}

const caller = { subject: "tester", may: () => true };
const all = { limit: undefined, last: undefined };
const namesOf = async (runs: AsyncIterable<Run>): Promise<string[]> =>
  (await Array.fromAsync(runs)).flatMap(({ names }) => names);
const silent = { progress() {}, failed() {} };

async function run({ registry }: Opened, failed: string[] = []): Promise<boolean> {
  const on = { ...silent, failed: (repository: string) => failed.push(repository) };
  const complete = await registry.adopter?.run(new AbortController().signal, on);
  if (complete === true) await registry.adopter?.complete();
  return complete === true;
}

/** Passes everything on, but has `between` happen when the revisions of a repository have been read. */
function meanwhile(layout: ForeignLayout, between: () => void): ForeignLayout {
  return {
    repositories: (note) => layout.repositories(note),
    has: async (repository) => layout.has(repository),
    layers: (repository, note) => layout.layers(repository, note),
    async *revisions(repository, note) {
      yield* layout.revisions(repository, note);
      between();
    },
    tags: (repository, note) => layout.tags(repository, note),
    blob: async (digest) => layout.blob(digest),
    stamp: async (repository) => layout.stamp(repository),
  };
}

test("a repository that another program changes meanwhile is read again, and nothing stays of the first reading", async () => {
  const data = directory();
  const files = new ForeignFiles(data);
  files.image("a", "gone", "one");
  let changes = 0;
  const opened = await open(data, await openMeta(data), (layout) =>
    meanwhile(layout, () => {
      if (changes++ > 0) return;
      files.image("a", "new", "two");
      rmSync(join(files.top, "repositories/a/_manifests/tags/gone"), { recursive: true });
    }),
  );
  expect(await opened.registry.isListed()).toBe(false);
  expect(await run(opened)).toBe(true);
  expect(await opened.registry.isListed()).toBe(true);
  expect(await namesOf(opened.registry.listRepositories(all))).toEqual(["a"]);
  expect(await namesOf(opened.registry.listTags(name("a"), all))).toEqual(["new"]);
  expect(changes).toBe(2);
  expect(opened.alarms).toHaveLength(1);
});

test("a repository that never stands still is refused, not half taken over", async () => {
  const data = directory();
  const files = new ForeignFiles(data);
  files.image("a", "0", "one");
  files.image("b", "0", "two");
  let changes = 0;
  const opened = await open(data, await openMeta(data), (layout) =>
    meanwhile(layout, () => void files.image("a", `${++changes}`, `more ${changes}`)),
  );
  const failed: string[] = [];
  expect(await run(opened, failed)).toBe(false);
  expect(failed).toEqual(["a"]);
  expect((await opened.registry.adoptionStatus())?.phase).toBe("indexing");
  const pull = opened.registry.pullManifest(name("a"), { kind: "tag", tag: tagged("0") }, "bytes");
  const outcome = await pull.catch((error: unknown) => error);
  expect(outcome).toBeInstanceOf(BlobStoreUnavailable);
  expect(await namesOf(opened.registry.listTags(name("b"), all))).toEqual(["0"]);
});

test("what clients brought before the old directory came is kept, and not overwritten", async () => {
  const data = directory();
  const meta = await openMeta(data);
  const before = await open(data, meta);
  expect(before.registry.adopter).toBeUndefined();
  const bytes = new TextEncoder().encode(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: "application/vnd.oci.image.index.v1+json",
      manifests: [],
    }),
  );
  const push = (tag: string): Promise<{ digest: string }> =>
    before.registry.pushManifest(caller, {
      name: name("a"),
      reference: { kind: "tag", tag: tagged(tag) },
      contentType: "application/vnd.oci.image.index.v1+json",
      bytes,
      tags: [],
      precondition: {},
    });
  const { digest } = await push("mine");
  await push("both");

  const files = new ForeignFiles(data);
  const found = files.image("a", "both", "theirs");
  files.tag("a", "theirs", found.manifest);
  const after = await open(data, meta);
  expect(await run(after)).toBe(true);
  expect(await namesOf(after.registry.listTags(name("a"), all))).toEqual([
    "both",
    "mine",
    "theirs",
  ]);
  const shown = async (tag: string): Promise<string> =>
    (await after.registry.pullManifest(name("a"), { kind: "tag", tag: tagged(tag) }, "bytes"))
      .digest;
  expect(await shown("both")).toBe(digest);
  expect(await shown("mine")).toBe(digest);
  expect(await shown("theirs")).toBe(found.manifest);
  const history = await meta.scan({
    prefix: keys.histories(name("a"), tagged("theirs")),
    limit: 10,
  });
  expect(history.entries.map(({ value }) => JSON.parse(value))).toEqual([
    { to: found.manifest, by: "adoption", at: expect.any(Number) },
  ]);
});

test("two processes that take over the same repositories at once end with the same", async () => {
  const data = directory();
  const files = new ForeignFiles(data);
  for (let i = 0; i < 40; i++) {
    for (const tag of ["1", "2"]) files.image(`r${i}`, tag, `layer ${i % 5}`);
  }
  const meta = await openMeta(data);
  const [one, two] = [await open(data, meta), await open(data, meta)];
  expect(await Promise.all([run(one), run(two)])).toEqual([true, true]);
  for (const { registry } of [one, two]) {
    expect(await registry.adoptionStatus()).toMatchObject({ adopted: 40, manifests: 80, tags: 80 });
    expect(await namesOf(registry.listTags(name("r7"), all))).toEqual(["1", "2"]);
  }
  expect(await one.registry.countForeign()).toMatchObject({ foreign: 5 + 80 + 80 });
});

test("once all is taken over, a request asks the store nothing more", async () => {
  const data = directory();
  new ForeignFiles(data).image("a", "1", "one");
  const meta = await openMeta(data);
  expect(await run(await open(data, meta))).toBe(true);
  let reads = 0;
  const counting: MetaStore = {
    get: async (wanted) => {
      reads++;
      return meta.get(wanted);
    },
    scan: async (options) => meta.scan(options),
    commit: async (commit) => meta.commit(commit),
    watch: (options) => meta.watch(options),
    operationsMax: meta.operationsMax,
    close: async () => {},
  };
  const { registry } = await open(data, counting);
  reads = 0;
  await registry.adopter?.ensure(name("a"));
  await registry.adopter?.ensure(name("never/heard/of"));
  expect(await registry.adopter?.isListed()).toBe(true);
  expect(reads).toBe(0);
});

test("a store that takes few operations at once gets small commits", async () => {
  const data = directory();
  const files = new ForeignFiles(data);
  for (let i = 0; i < 30; i++) files.image("a", `t${i}`, `layer ${i}`);
  const meta = await openMeta(data);
  let most = 0;
  const small: MetaStore = {
    get: async (wanted) => meta.get(wanted),
    scan: async (options) => meta.scan(options),
    commit: async (commit) => {
      const { put = [], delete: gone = [], expect: wanted = [] } = commit;
      most = Math.max(most, put.length + gone.length, wanted.length);
      return meta.commit(commit);
    },
    watch: (options) => meta.watch(options),
    operationsMax: 64,
    close: async () => {},
  };
  const opened = await open(data, small);
  expect(await run(opened)).toBe(true);
  expect(most).toBeLessThanOrEqual(64);
  expect(await namesOf(opened.registry.listTags(name("a"), all))).toHaveLength(30);
});
