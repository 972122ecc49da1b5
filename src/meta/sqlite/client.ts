/** A worker's store: reads the database itself, sends commits to the writer. */
import type { Database } from "bun:sqlite";
import { checkCommit } from "../check-commit.ts";
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
import { OPERATIONS_MAX } from "./commit-queue.ts";
import { type DatabaseOptions, openForReading } from "./database.ts";
import { EntryCache } from "./entry-cache.ts";
import { Reader } from "./reader.ts";
import { RevisionPage } from "./revision-page.ts";
import { watchChanges } from "./watch.ts";
import { type CommitLink, linkToCommitter } from "../link/link.ts";

export interface ClientOptions extends DatabaseOptions {
  /** Path of the writer's socket. */
  readonly socket: string;
  /**
   * Called once when the writer is gone without `close` having been called. Commits under way have been
   * rejected with `StoreUnavailable`, outcome unknown, and the client cannot be used again.
   */
  readonly onLost: () => void;
}

/** Throws `StoreUnavailable` when the writer or its database is not there. */
export async function connectClient(options: ClientOptions): Promise<SqliteClient> {
  let client: SqliteClient | undefined;
  const progress = new Progress();
  const link = await linkToCommitter(options.socket, {
    onRevision: (revision) => progress.raise(revision),
    onGone() {
      progress.end();
      if (client?.lost()) options.onLost();
    },
  });
  try {
    const database = openForReading(options);
    client = new SqliteClient(database, RevisionPage.open(options.path), link, progress);
    return client;
  } catch (error) {
    await link.close();
    throw error;
  }
}

export class SqliteClient implements MetaStore {
  readonly operationsMax = OPERATIONS_MAX;
  readonly #database: Database;
  readonly #link: CommitLink;
  readonly #progress: Progress;
  readonly #reader: Reader;
  readonly #page: RevisionPage;
  readonly #cache = new EntryCache();
  #open = true;
  #watches = 0;

  constructor(database: Database, page: RevisionPage, link: CommitLink, progress: Progress) {
    this.#database = database;
    this.#page = page;
    this.#link = link;
    this.#progress = progress;
    this.#reader = new Reader(database);
  }

  async get(keys: readonly string[]): Promise<GetResult> {
    this.#requireOpen();
    const revision = this.#page.get();
    const known = revision === undefined ? undefined : this.#cache.get(keys, revision);
    if (known !== undefined) return known;
    const found = this.#reader.get(keys);
    this.#cache.keep(keys, found);
    return found;
  }

  async scan(options: ScanOptions): Promise<ScanResult> {
    this.#requireOpen();
    return this.#reader.scan(options);
  }

  async commit(commit: Commit): Promise<CommitResult> {
    this.#requireOpen();
    checkCommit(commit, OPERATIONS_MAX);
    return this.#link.commit(commit);
  }

  async *watch(options: Parameters<MetaStore["watch"]>[0]): AsyncGenerator<Change, void, void> {
    this.#requireOpen();
    if (this.#watches++ === 0) this.#link.announce(true);
    try {
      yield* watchChanges((...page) => this.#reader.changes(...page), this.#progress, options);
    } finally {
      if (--this.#watches === 0) this.#link.announce(false);
    }
  }

  /** Waits for the answers of commits under way; watches end with `StoreUnavailable`. */
  async close(): Promise<void> {
    if (!this.#open) return;
    this.#open = false;
    await this.#link.close();
    this.#database.close();
  }

  /** True when nobody had asked for the end. */
  lost(): boolean {
    if (!this.#open) return false;
    this.#open = false;
    this.#database.close();
    return true;
  }

  #requireOpen(): void {
    if (!this.#open) throw new StoreUnavailable("the metadata store was closed");
  }
}
