/** Giving a repository the right to show a blob: after an upload, or by mounting it from another repository. */
import { BlobStoreUnavailable, type StoredBlob } from "../blobs/port.ts";
import { keys, lastPart } from "../meta/keys.ts";
import type { Entry, Revision } from "../meta/port.ts";
import { decode, encode, type BlobRecord, type LinkRecord, type Versioned } from "./records.ts";
import type { Digest } from "../oci/digest.ts";
import { parseName, type RepositoryName } from "../oci/name.ts";
import { holdsBytes, holdsDurably, IncomingBytes, tidy } from "./bytes.ts";
import { commitPlan, expectation, readToPush, type Caller, type Context } from "./context.ts";
import { isLive, joinRepository } from "./repository.ts";

/** Repositories looked through for a mount that names no source. */
const MOUNT_SOURCES_MAX = 100;

/**
 * Whether the repository shows the blob and its bytes are there, as durably as if it were being linked now. Throws
 * `BlobStoreUnavailable` while they are there less durably: a client that comes again will find them copied.
 */
export async function hasBlob(
  ctx: Context,
  name: RepositoryName,
  digest: Digest,
): Promise<boolean> {
  const wanted = [keys.repository(name), keys.link(digest, name), keys.blob(digest)];
  return commitPlan(ctx.meta, async () => {
    const { entries } = await ctx.meta.get(wanted);
    const blob = decode<BlobRecord>(entries[2]);
    if (!isLive(decode<LinkRecord>(entries[1])?.value, entries[0])) return { result: false };
    if (!(await holdsDurably(ctx, blob))) {
      if (await holdsBytes(ctx, blob))
        throw new BlobStoreUnavailable(`the blob ${digest} has too few copies at present`);
      return { result: false };
    }
    const expect = wanted.map((key, i) => expectation(key, entries[i]));
    return { commit: { expect }, result: true };
  });
}

export interface LinkOptions {
  /** Whose record goes in the same commit. */
  readonly session?: string | undefined;
  /** `linkKeys`, where they have just been read to push. */
  readonly seen?: readonly (Entry | undefined)[];
}

/** What a link depends on: blob, link, repository. */
export function linkKeys(name: RepositoryName, digest: Digest): readonly [string, string, string] {
  return [keys.blob(digest), keys.link(digest, name), keys.repository(name)];
}

/**
 * Links a blob into the repository. Its bytes are stored already, or `bytes` stores them, and is asked to only
 * while none that were checked are held.
 */
export async function linkBlob(
  ctx: Context,
  name: RepositoryName,
  digest: Digest,
  bytes: StoredBlob | (() => Promise<StoredBlob>),
  { session, seen }: LinkOptions = {},
): Promise<void> {
  const wanted = linkKeys(name, digest);
  const [, linkKey] = wanted;
  const incoming = new IncomingBytes(ctx, digest, bytes);
  // The commit expects all of it: what has changed since makes a conflict, and is read anew.
  let known = seen;
  const abandoned = await commitPlan(ctx.meta, async () => {
    const entries = known ?? (await readToPush(ctx, wanted));
    known = undefined;
    const settled = await incoming.settle(entries[0]);
    const join = joinRepository(ctx, name, entries[2]);
    const put = [...join.put, ...settled.put];
    // Also of a link that is there: what others have written is to be as durable as what is written here.
    const expect = [...join.expect, ...settled.expect, expectation(linkKey, entries[1])];
    if (!settled.kept || !isLive(decode<LinkRecord>(entries[1])?.value, entries[2]))
      put.push({ key: linkKey, value: linkRecord(ctx, join.incarnation) });
    const gone = session === undefined ? [] : [keys.upload(session)];
    return { commit: { expect, put, delete: gone }, result: settled.loser };
  });
  await tidy(ctx, abandoned);
}

/**
 * Mounts a blob from `from`, or, when that is undefined, from any repository the caller may pull
 * (distribution-spec §Mounting a blob from another repository). False when there is no such source.
 */
export async function mountBlob(
  ctx: Context,
  caller: Caller,
  name: RepositoryName,
  digest: Digest,
  from: RepositoryName | undefined,
): Promise<boolean> {
  const sources = from === undefined ? await sourcesOf(ctx, digest) : [from];
  const isHeld = heldDurably(ctx);
  for (const source of sources) {
    if (!caller.may("pull", source)) continue;
    if (await mountFrom(ctx, name, digest, source, isHeld)) return true;
  }
  return false;
}

/** Asks the stores once while the record stays as it is. */
function heldDurably(ctx: Context): (blob: Versioned<BlobRecord> | undefined) => Promise<boolean> {
  let known: { readonly version: Revision | undefined; readonly answer: boolean } | undefined;
  return async (blob) => {
    if (known === undefined || known.version !== blob?.version)
      known = { version: blob?.version, answer: await holdsDurably(ctx, blob) };
    return known.answer;
  };
}

async function sourcesOf(ctx: Context, digest: Digest): Promise<RepositoryName[]> {
  const { entries } = await ctx.meta.scan({
    prefix: keys.links(digest),
    limit: MOUNT_SOURCES_MAX,
  });
  return entries.map((entry) => parseName(lastPart(entry.key))).filter((n) => n !== undefined);
}

async function mountFrom(
  ctx: Context,
  name: RepositoryName,
  digest: Digest,
  source: RepositoryName,
  isHeld: ReturnType<typeof heldDurably>,
): Promise<boolean> {
  return commitPlan(ctx.meta, async () => {
    const wanted = [
      keys.repository(source),
      keys.link(digest, source),
      keys.blob(digest),
      keys.repository(name),
      keys.link(digest, name),
    ];
    const { entries } = await ctx.meta.get(wanted);
    const [sourceEntry, sourceLink, blobEntry, repository, link] = entries;
    const blob = decode<BlobRecord>(blobEntry);
    if (!isLive(decode<LinkRecord>(sourceLink)?.value, sourceEntry)) return { result: false };
    if (!(await isHeld(blob))) return { result: false };
    if (isLive(decode<LinkRecord>(link)?.value, repository)) {
      return { commit: { expect: [expectation(keys.link(digest, name), link)] }, result: true };
    }

    const join = joinRepository(ctx, name, repository);
    const linkKey = keys.link(digest, name);
    const expected: [string, Entry | undefined][] = [
      [keys.link(digest, source), sourceLink],
      [keys.blob(digest), blobEntry],
      [linkKey, link],
    ];
    return {
      commit: {
        expect: [...join.expect, ...expected.map(([key, entry]) => expectation(key, entry))],
        put: [...join.put, { key: linkKey, value: linkRecord(ctx, join.incarnation) }],
      },
      result: true,
    };
  });
}

function linkRecord(ctx: Context, incarnation: string): string {
  return encode({ incarnation, at: ctx.clock.now() } satisfies LinkRecord);
}
