/**
 * The metadata port: an ordered key-value store with conditional commits (DESIGN §4).
 * Keys are ASCII strings ordered by byte; values are small JSON texts, opaque to every engine.
 *
 * Errors: an engine throws only `StoreUnavailable` (nothing is known to have happened, or the outcome
 * was looked up and is "not committed"; safe to repeat) and `StoreCorrupt`. Absence is `undefined`,
 * a lost race is `Conflict`, never an exception.
 */

/**
 * The store-wide commit revision: a positive safe integer that every commit with an effect raises (deleting what
 * is absent is none). Never reused, not
 * after a delete, not after a restore. Revision order = commit order = visibility order.
 * A record's version is the revision of the commit that last put it.
 */
export type Revision = number;

/** The version to expect of a key that must not exist. */
export const ABSENT: Revision = 0;

export interface Entry {
  readonly key: string;
  readonly value: string;
  readonly version: Revision;
}

/** What every read says about itself. */
export interface Read {
  /** The state shown is exactly that after this commit. */
  readonly revision: Revision;
  /** True only when the truth could not be reached and the last known state was read instead. */
  readonly stale: boolean;
}

export interface GetResult extends Read {
  /** One place a key asked, in the same order; `undefined` where the key is absent. */
  readonly entries: readonly (Entry | undefined)[];
}

export interface ScanOptions {
  readonly prefix: string;
  /** Exclusive bound, a full key: only keys after it (before it when `reverse`). It need not exist. */
  readonly after?: string;
  /** Largest number of entries returned; a positive integer. */
  readonly limit: number;
  readonly reverse?: boolean;
  /** Only the keys are wanted: values come empty and versions as `ABSENT`, which spares an engine the reading. */
  readonly keysOnly?: boolean;
}

export interface ScanResult extends Read {
  readonly entries: readonly Entry[];
  /** True when keys beyond the last entry exist. */
  readonly more: boolean;
}

export interface Expectation {
  readonly key: string;
  /** The version the key must have inside the commit, or `ABSENT`. */
  readonly version: Revision;
}

export interface Commit {
  readonly expect?: readonly Expectation[];
  readonly put?: readonly { readonly key: string; readonly value: string }[];
  readonly delete?: readonly string[];
}

export type CommitResult =
  | { readonly ok: true; readonly revision: Revision }
  /** Nothing was written. `keys` are expectations that failed (at least one, not always all). */
  | { readonly ok: false; readonly keys: readonly string[] };

/** One commit's effect on the watched prefix, in commit order. A deleted key has no `value`. */
export interface Change {
  readonly revision: Revision;
  readonly changes: readonly { readonly key: string; readonly value: string | undefined }[];
}

export interface MetaStore {
  /** Reads all keys in one consistent snapshot. Linearizable: sees every commit acknowledged before the call. */
  get(keys: readonly string[]): Promise<GetResult>;

  /** Reads a bounded run of keys in byte order from one snapshot. Linearizable. */
  scan(options: ScanOptions): Promise<ScanResult>;

  /**
   * Atomic: every expectation is checked inside the commit, then everything is written, or nothing.
   * Resolves only after the commit is durable (fsynced, or acknowledged by a quorum). No key may appear
   * twice among puts and deletes, and there are at most `operationsMax` of them (`RangeError`). An empty commit is
   * allowed and only checks its expectations. `StoreUnavailable` after the connection broke means that the outcome
   * is unknown: only a commit with expectations may be repeated then.
   */
  commit(commit: Commit): Promise<CommitResult>;

  /**
   * Yields every commit after revision `after` that touched `prefix`, without gaps or repeats, then waits
   * for more until `signal` aborts (the iterator then ends). Throws `RevisionCompacted` when `after` is
   * older than the history the store still has: the caller scans again and resumes from that revision.
   */
  watch(options: {
    readonly prefix: string;
    readonly after: Revision;
    readonly signal: AbortSignal;
  }): AsyncIterable<Change>;

  /** Largest number of puts and deletes, and of expectations, that one commit takes. */
  readonly operationsMax: number;

  close(): Promise<void>;
}

/** The store cannot be reached or refuses work; the caller may repeat the request later. */
export class StoreUnavailable extends Error {
  override readonly name: string = "StoreUnavailable";
}

/** There is no room for the commit; reads go on, and so do commits once there is room. */
export class StoreFull extends StoreUnavailable {}

/** What was read contradicts itself; nothing may be served from it. */
export class StoreCorrupt extends Error {
  override readonly name = "StoreCorrupt";
}

/** The watch asked for history that is gone. */
export class RevisionCompacted extends Error {
  override readonly name = "RevisionCompacted";
}
