/** The one process that writes: reads and grouped commits on one connection. */
import type { Database, Statement } from "bun:sqlite";
import {
  type Change,
  type Commit,
  type CommitResult,
  type GetResult,
  type MetaStore,
  type ScanOptions,
  type ScanResult,
  StoreUnavailable,
} from "../port.ts";
import { Progress } from "../progress.ts";
import { CommitQueue, OPERATIONS_MAX } from "./commit-queue.ts";
import { type DatabaseOptions, openForWriting } from "./database.ts";
import { GroupCommitter } from "./group.ts";
import { Reader } from "./reader.ts";
import { RevisionPage } from "./revision-page.ts";
import { startAbove } from "./start-above.ts";
import { watchChanges } from "./watch.ts";

export interface WriterOptions extends DatabaseOptions {
  /** Number of latest commits that a watch can start from. */
  readonly historyMax?: number;
  /** Every revision from now on is greater than this one. Throws `StoreUnavailable` where the store holds a key. */
  readonly above?: number;
}

const HISTORY_MAX = 10_000;
/** Log pages (4 KiB) after which the log is copied into the database; a few milliseconds each time. */
const CHECKPOINT_PAGES = 1000;
/** What the next groups change is what the last ones read: kept, it is not read from the log again. */
const CACHE_BYTES = 16 * 2 ** 20;

export class SqliteWriter implements MetaStore {
  readonly operationsMax = OPERATIONS_MAX;
  readonly #database: Database;
  readonly #reader: Reader;
  readonly #committer: GroupCommitter;
  readonly #queue: CommitQueue;
  readonly #progress = new Progress();
  readonly #listeners = new Set<(revision: number) => void>();
  readonly #logState: Statement;
  readonly #checkpoint: Statement;
  #checkpointAt = CHECKPOINT_PAGES;
  #closed = false;

  constructor(options: WriterOptions) {
    this.#database = openForWriting({ cacheBytes: CACHE_BYTES, ...options });
    if (options.above !== undefined) startAbove(this.#database, options.above);
    this.#reader = new Reader(this.#database);
    const page = RevisionPage.create(options.path);
    this.#committer = new GroupCommitter(this.#database, options.historyMax ?? HISTORY_MAX, page);
    this.#queue = new CommitQueue((commits) => this.#run(commits));
    this.#logState = this.#database.query("PRAGMA wal_checkpoint(NOOP)");
    this.#checkpoint = this.#database.query("PRAGMA wal_checkpoint(PASSIVE)");
    this.#progress.raise(this.#committer.revision);
  }

  /** The latest durable revision. */
  get revision(): number {
    return this.#committer.revision;
  }

  async get(keys: readonly string[]): Promise<GetResult> {
    this.#requireOpen();
    return this.#reader.get(keys);
  }

  async scan(options: ScanOptions): Promise<ScanResult> {
    this.#requireOpen();
    return this.#reader.scan(options);
  }

  async commit(commit: Commit): Promise<CommitResult> {
    this.#requireOpen();
    return this.#queue.add(commit);
  }

  watch(options: Parameters<MetaStore["watch"]>[0]): AsyncIterable<Change> {
    this.#requireOpen();
    const read = (after: number, prefix: string, limit: number) =>
      this.#committer.recentChanges(after, prefix) ?? this.#reader.changes(after, prefix, limit);
    return watchChanges(read, this.#progress, options);
  }

  /** Calls `listener` with each new revision, before the commits of its group are answered. */
  onRevision(listener: (revision: number) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Writes what waits, ends the watches with `StoreUnavailable`, and leaves no log behind. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#queue.flush();
    this.#closed = true;
    this.#progress.end();
    try {
      this.#database.run("PRAGMA wal_checkpoint(TRUNCATE)");
    } finally {
      this.#database.close();
    }
  }

  #run(commits: readonly Commit[]): CommitResult[] {
    const before = this.#committer.revision;
    const results = this.#committer.run(commits);
    const { revision } = this.#committer;
    if (revision > before) {
      this.#progress.raise(revision);
      for (const listener of this.#listeners) listener(revision);
      // The answers leave before the log is copied.
      setImmediate(() => this.#boundLog());
    }
    return results;
  }

  /** Copies the log into the database so that the next group starts the log over, unless a reader still needs it. */
  #boundLog(): void {
    if (this.#closed) return;
    try {
      if (logPages(this.#logState) < this.#checkpointAt) return;
      const [, pages, copied] = this.#checkpoint.values()[0] as [number, number, number];
      this.#checkpointAt = (copied < pages ? pages : 0) + CHECKPOINT_PAGES;
    } catch {
      // The log only grows meanwhile; a disk that fails or is full shows in the commits.
      this.#checkpointAt += CHECKPOINT_PAGES;
    }
  }

  #requireOpen(): void {
    if (this.#closed) throw new StoreUnavailable("the metadata store was closed");
  }
}

function logPages(state: Statement): number {
  return (state.values()[0] as [number, number, number])[1];
}
