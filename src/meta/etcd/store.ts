/** The metadata port over etcd. */
import {
  type Change,
  type Commit,
  type CommitResult,
  type GetResult,
  type MetaStore,
  type Revision,
  RevisionCompacted,
  type ScanOptions,
  type ScanResult,
  StoreUnavailable,
} from "../port.ts";
import { EtcdClient, type EtcdClientOptions } from "./client.ts";
import { Committer, OPERATIONS_MAX } from "./committer.ts";
import { create, find } from "./create.ts";
import { Gatherer } from "./gather.ts";
import { insist } from "./insist.ts";
import { Reader } from "./reader.ts";
import { requireReleases } from "./release.ts";
import type { Space } from "./space.ts";
import { TruthReader } from "./truth.ts";
import { Watcher } from "./watch.ts";

export interface EtcdOptions extends EtcdClientOptions {
  /** What the names of all our keys in etcd begin with; default `holdfast/`. */
  readonly prefix?: string;
  /** For a store that is built anew: it must be empty, and every revision will be greater than this one. */
  readonly above?: Revision;
}

/**
 * Opens the store, and creates it where there is none. Without a majority an existing store is opened all the same,
 * for stale reads. Throws `StoreUnavailable`, within 2 s when etcd cannot be reached, with what is to be done.
 */
export async function openEtcd(options: EtcdOptions): Promise<EtcdStore> {
  const client = new EtcdClient(options);
  const truth = new TruthReader(client);
  const { prefix = "holdfast/", above } = options;
  const [found] = await Promise.all([find(truth, prefix), requireReleases(client)]);
  const space =
    found === undefined || above !== undefined ? await create(client, prefix, above) : found;
  return new EtcdStore(client, truth, space);
}

export class EtcdStore implements MetaStore {
  readonly operationsMax = OPERATIONS_MAX;
  readonly #client: EtcdClient;
  readonly #space: Space;
  readonly #reader: Reader;
  readonly #gatherer: Gatherer;
  readonly #committer: Committer;
  readonly #closed = new AbortController();
  readonly #watcher: Watcher;

  constructor(client: EtcdClient, truth: TruthReader, space: Space) {
    this.#client = client;
    this.#space = space;
    this.#reader = new Reader(truth, space);
    this.#gatherer = new Gatherer(this.#reader);
    this.#committer = new Committer(client, truth, this.#reader, space);
    this.#watcher = new Watcher(client, truth, space, this.#closed.signal);
  }

  async get(keys: readonly string[]): Promise<GetResult> {
    this.#requireOpen();
    return this.#gatherer.get(keys);
  }

  async scan(options: ScanOptions): Promise<ScanResult> {
    this.#requireOpen();
    return this.#reader.scan(options);
  }

  async commit(commit: Commit): Promise<CommitResult> {
    this.#requireOpen();
    return this.#committer.commit(commit);
  }

  watch(options: Parameters<MetaStore["watch"]>[0]): AsyncIterable<Change> {
    this.#requireOpen();
    return this.#watcher.watch(options);
  }

  /**
   * Lets etcd forget its history up to `revision`, that of every other user of this etcd included. Watches after
   * this revision or a later one go on.
   */
  async compact(revision: Revision): Promise<void> {
    this.#requireOpen();
    const body = { revision: String(this.#space.raw(revision)) };
    try {
      await insist(this.#client, (left) => this.#client.call("/v3/kv/compaction", body, left()));
    } catch (error) {
      // Somebody has been further.
      if (!(error instanceof RevisionCompacted)) throw error;
    }
  }

  /** Waits for commits under way; watches end with `StoreUnavailable`. */
  async close(): Promise<void> {
    if (this.#closed.signal.aborted) return;
    this.#closed.abort();
    await this.#committer.close();
  }

  #requireOpen(): void {
    if (this.#closed.signal.aborted) throw new StoreUnavailable("the metadata store was closed");
  }
}
