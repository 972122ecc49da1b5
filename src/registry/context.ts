/** What every use case is given, and the two habits they share: retrying lost races, and asking who calls. */
import type { Clock } from "../base/clock.ts";
import type { Lru } from "../base/lru.ts";
import type { BlobStore } from "../blobs/port.ts";
import { requireFresh, waitUntilFresh } from "../meta/fresh.ts";
import { keys } from "../meta/keys.ts";
import type { Commit, Entry, MetaStore, Revision } from "../meta/port.ts";
import type { ManifestLimits } from "../oci/manifest.ts";
import { OciError } from "../oci/errors.ts";
import type { RepositoryName } from "../oci/name.ts";

export type Action = "pull" | "push" | "delete";

/** On whose behalf a use case runs. */
export interface Caller {
  /** Who, as history records it; `anonymous` without authentication. */
  readonly subject: string;
  may(action: Action, repository: RepositoryName): boolean;
}

export interface RegistryLimits extends ManifestLimits {
  /** Bytes of one manifest. */
  readonly manifestBytes: number;
  /** Bytes of one blob; 0 is no limit. */
  readonly blobBytes: number;
  /** Tags that one manifest push may set. */
  readonly tagsPerPush: number;
  /** Entries of one page of a listing. */
  readonly pageEntries: number;
  /** Entries of a page of the catalog whose length the client leaves open. */
  readonly catalogEntries: number;
  /** Bytes of one page of referrers. */
  readonly referrersPageBytes: number;
}

export interface RegistryOptions {
  readonly limits: RegistryLimits;
  /** What to do with a manifest that refers to blobs, or to child manifests, that the repository lacks. */
  readonly missingBlobs: "reject" | "accept";
  readonly missingManifests: "reject" | "accept";
  /** Milliseconds after which an upload session without progress is unknown. */
  readonly uploadExpiry: number;
  /** Milliseconds for which stored bytes stay that nothing names: an upload, or a rebuilt earlier or later state, may. */
  readonly unnamedFor: number;
}

export interface Context {
  readonly meta: MetaStore;
  readonly blobs: BlobStore;
  readonly clock: Clock;
  readonly options: RegistryOptions;
  /** Signs the ids of upload sessions; one for the whole installation. */
  readonly uploadSecret: Uint8Array<ArrayBuffer>;
  /** Bytes of small blobs and manifests by digest: immutable, so never wrong; whether they may be shown is asked each time. */
  readonly cache: Lru<Uint8Array<ArrayBuffer>>;
  /** Foreign bytes, by locator, that this process has read and found right, or is reading. */
  readonly verified: Lru<Promise<boolean>>;
  /** Tells the operator of damage that a client's answer cannot. */
  alarm(message: string, fields: Record<string, unknown>): void;
}

/** Attempts at one command before its client is told to come back. */
const ATTEMPTS_MAX = 50;

/**
 * Runs `plan` against fresh reads until its commit meets no conflict. A plan without a commit has nothing to
 * write: its result stands.
 */
export async function commitPlan<T>(
  meta: MetaStore,
  plan: () => Promise<{ readonly commit?: Commit; readonly result: T }>,
): Promise<T> {
  for (let attempt = 1; attempt <= ATTEMPTS_MAX; attempt++) {
    const { commit, result } = await plan();
    if (commit === undefined) return result;
    const outcome = await meta.commit(commit);
    if (outcome.ok) return result;
    if (attempt > 3) await Bun.sleep(Math.random() * Math.min(attempt, 20));
  }
  throw new OciError(
    "TOOMANYREQUESTS",
    "too many concurrent changes of the same thing; try again",
    {
      status: 503,
      headers: { "Retry-After": "1" },
    },
  );
}

/**
 * What a push reads before it takes bytes in, and what a delete or a condition is refused by. The last known state will
 * not do: while a majority elects its leader this waits, as a commit does; where none is left, it throws
 * `StoreUnavailable`.
 */
export async function readToPush(
  { meta }: Context,
  wanted: readonly string[],
): Promise<readonly (Entry | undefined)[]> {
  const { entries, stale } = await meta.get(wanted);
  if (!stale) return entries;
  await reachTruth(meta);
  return requireFresh(await meta.get(wanted)).entries;
}

/** Waits out an election. Throws `StoreUnavailable`, at once where no majority is left. */
export async function reachTruth(meta: MetaStore): Promise<void> {
  // Nothing has this name: only a commit can tell an election from the loss of the majority.
  await meta.commit({ delete: [keys.upload("none")] });
  await waitUntilFresh(meta);
}

export function expectation(
  key: string,
  entry: { readonly version: Revision } | undefined,
): { readonly key: string; readonly version: Revision } {
  return { key, version: entry?.version ?? 0 };
}
