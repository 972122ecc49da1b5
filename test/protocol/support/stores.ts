/** What a test puts between the registry and its stores, and reads of them. */
import { closeSync, openSync, rmSync, truncateSync, writeSync } from "node:fs";
import { BLOCK } from "../../../src/base/aligned.ts";
import type { Clock } from "../../../src/base/clock.ts";
import { packPlace } from "../../../src/blobs/file/locator.ts";
import { HEADER } from "../../../src/blobs/file/pack-record.ts";
import type { BlobStore } from "../../../src/blobs/port.ts";
import { delegate } from "../../../src/meta/delegate.ts";
import type { Commit, CommitResult, MetaStore } from "../../../src/meta/port.ts";
import { keys } from "../../../src/meta/keys.ts";
import type { BlobRecord } from "../../../src/registry/records.ts";

/** A clock that stands until it is moved. */
export class TestClock implements Clock {
  #time = Date.now();
  now(): number {
    return this.#time;
  }
  advance(ms: number): void {
    this.#time += ms;
  }
}

/** How often something that has to be fsynced was asked for. */
export class Writes {
  #count = 0;
  get count(): number {
    return this.#count;
  }

  readonly meta = (inner: MetaStore): MetaStore =>
    interceptCommits(inner, async (commit) => {
      this.#count++;
      return inner.commit(commit);
    });

  readonly blobs = (inner: BlobStore): BlobStore => ({
    ...delegateBlobs(inner),
    put: async (digest, bytes) => {
      this.#count++;
      return inner.put(digest, bytes);
    },
    upload: async (id, algorithm) => {
      this.#count++;
      return inner.upload(id, algorithm);
    },
  });
}

export function interceptCommits(
  inner: MetaStore,
  commit: (commit: Commit) => Promise<CommitResult>,
): MetaStore {
  return delegate(inner, { commit });
}

function delegateBlobs(inner: BlobStore): BlobStore {
  return {
    stat: async (locator) => inner.stat(locator),
    open: async (locator, size, range) => inner.open(locator, size, range),
    read: async (locator, size) => inner.read(locator, size),
    put: async (digest, bytes) => inner.put(digest, bytes),
    upload: async (id, algorithm) => inner.upload(id, algorithm),
    uploadSize: async (id) => inner.uploadSize(id),
    discard: async (id) => inner.discard(id),
    uploads: () => inner.uploads(),
    list: (after) => inner.list(after),
    delete: async (locator) => inner.delete(locator),
    space: async () => inner.space(),
    close: async () => inner.close(),
  };
}

/** Keys with a prefix and their values, all of them. */
export async function recordsOf(
  meta: MetaStore,
  prefix: string,
): Promise<{ readonly key: string; readonly value: unknown }[]> {
  const { entries } = await meta.scan({ prefix, limit: 100_000 });
  return entries.map(({ key, value }) => ({ key, value: JSON.parse(value) as unknown }));
}

/** Uploads that have bytes. */
export async function uploadsOf(blobs: BlobStore): Promise<string[]> {
  const found: string[] = [];
  for await (const { id } of blobs.uploads()) found.push(id);
  return found;
}

/** What `openInProcess` says of a blob's place. */
interface Place {
  readonly meta: MetaStore;
  readonly pathOf: (locator: string) => string;
}

/** Where a blob's bytes begin, in a file of its own or in a pack. */
async function bytesOnDisk(
  { meta, pathOf }: Place,
  digest: string,
): Promise<{ readonly path: string; readonly at: number; readonly size: number }> {
  const { entries } = await meta.get([keys.blob(digest)]);
  const record = JSON.parse(entries[0]?.value ?? "null") as BlobRecord | null;
  if (record === null) throw new Error(`no record of ${digest}`);
  const { locator, size } = record;
  const place = packPlace(locator);
  if (place === undefined) return { path: pathOf(locator), at: 0, size };
  return { path: pathOf(`packs/${place.pack}`), at: place.block * BLOCK + HEADER, size };
}

/** Loses the bytes of a blob, as a broken disk would. */
export async function loseBytes(stores: Place, digest: string): Promise<void> {
  const { path, at } = await bytesOnDisk(stores, digest);
  if (at === 0) rmSync(path);
  else overwrite(path, at - HEADER, new Uint8Array(HEADER));
}

/** Loses the last byte of a blob, and what comes after it in its file. */
export async function cutBytes(stores: Place, digest: string): Promise<void> {
  const { path, at, size } = await bytesOnDisk(stores, digest);
  truncateSync(path, at + size - 1);
}

/** Puts other bytes in the place of a blob's. */
export async function changeBytes(stores: Place, digest: string, bytes: Uint8Array): Promise<void> {
  const { path, at } = await bytesOnDisk(stores, digest);
  overwrite(path, at, bytes);
}

function overwrite(path: string, at: number, bytes: Uint8Array): void {
  const fd = openSync(path, "r+");
  writeSync(fd, bytes, 0, bytes.byteLength, at);
  closeSync(fd);
}
