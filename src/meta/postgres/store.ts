/** A process's store: reads and commits over its own few connections. */
import type {
  Change,
  Commit,
  CommitResult,
  GetResult,
  MetaStore,
  Revision,
  ScanOptions,
  ScanResult,
} from "../port.ts";
import { CommitQueue, OPERATIONS_MAX } from "./commit-queue.ts";
import { Deadline } from "./deadline.ts";
import { GroupCommitter } from "./group.ts";
import { Known } from "./known.ts";
import { Listener } from "./listener.ts";
import { Reader } from "./reader.ts";
import { closed, type Servers, Sessions } from "./sessions.ts";
import { Progress } from "../progress.ts";
import { watchChanges } from "./watch.ts";

const COMPACT_MS = 2000;

export interface StoreLimits {
  /** Number of latest commits that a watch can start from. */
  readonly historyMax: number;
  /** Most connections at once, one of them to listen by. */
  readonly connections: number;
}

export class PostgresStore implements MetaStore {
  readonly operationsMax = OPERATIONS_MAX;
  readonly #identity: string;
  readonly #sessions: Sessions;
  readonly #reader: Reader;
  readonly #queue: CommitQueue;
  readonly #listener: Listener;
  readonly #progress = new Progress();
  #closed = false;

  constructor(
    servers: Servers,
    { identity, revision }: { readonly identity: string; readonly revision: Revision },
    { historyMax, connections }: StoreLimits,
  ) {
    this.#identity = identity;
    const known = new Known(identity, revision, (raised) => this.#progress.raise(raised));
    this.#progress.raise(revision);
    this.#sessions = new Sessions(servers, Math.max(1, connections - 1));
    this.#reader = new Reader(this.#sessions, known);
    const committer = new GroupCommitter(this.#sessions, known, historyMax);
    this.#queue = new CommitQueue((commits) => committer.run(commits));
    this.#listener = new Listener(servers, this.#progress);
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

  /** Goes on over the server's absences. */
  watch(options: Parameters<MetaStore["watch"]>[0]): AsyncIterable<Change> {
    this.#requireOpen();
    return watchChanges(this.#reader, this.#progress, this.#listener, options);
  }

  /**
   * Lets the history up to `revision` be forgotten, but for the latest `historyMax` commits. From the first call on,
   * by any process ever, what comes after it is kept until a later call says more; without any, `historyMax` alone
   * bounds the history.
   */
  async compact(revision: Revision): Promise<void> {
    this.#requireOpen();
    await this.#sessions.run(
      new Deadline(COMPACT_MS),
      (sql) => sql`
        UPDATE holdfast.state SET released = greatest(released, ${String(revision)}::text::bigint)
        WHERE identity = ${this.#identity}::text::uuid
          AND (released IS NULL OR released < ${String(revision)}::text::bigint)`,
    );
  }

  /** Waits for the answers of commits under way; watches end with `StoreUnavailable`. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#queue.idle();
    this.#progress.end();
    this.#listener.close();
    this.#sessions.close();
  }

  #requireOpen(): void {
    if (this.#closed) throw closed();
  }
}
