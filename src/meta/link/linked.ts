/** A worker's store over a network engine: reads by itself, commits through its parent, which groups and journals them. */
import {
  type Change,
  type Commit,
  type CommitResult,
  type GetResult,
  type MetaStore,
  type ScanOptions,
  type ScanResult,
} from "../port.ts";
import { type CommitLink, linkToCommitter } from "./link.ts";

export interface LinkedOptions {
  /** For reads and watches; closed together with the store. */
  readonly engine: MetaStore;
  /** Path of the committing process's socket. */
  readonly socket: string;
  /** Called once when the committing process is gone without `close` having been called. */
  readonly onLost: () => void;
}

/** Throws `StoreUnavailable` when nobody commits at `socket`. */
export async function openLinked(options: LinkedOptions): Promise<MetaStore> {
  let closing = false;
  const link = await linkToCommitter(options.socket, {
    onRevision() {},
    onGone() {
      if (!closing) options.onLost();
    },
  });
  return new LinkedStore(options.engine, link, () => {
    closing = true;
  });
}

class LinkedStore implements MetaStore {
  readonly #engine: MetaStore;
  readonly #link: CommitLink;
  readonly #onClose: () => void;

  constructor(engine: MetaStore, link: CommitLink, onClose: () => void) {
    this.#engine = engine;
    this.#link = link;
    this.#onClose = onClose;
  }

  get operationsMax(): number {
    return this.#engine.operationsMax;
  }

  get(keys: readonly string[]): Promise<GetResult> {
    return this.#engine.get(keys);
  }

  scan(options: ScanOptions): Promise<ScanResult> {
    return this.#engine.scan(options);
  }

  commit(commit: Commit): Promise<CommitResult> {
    return this.#link.commit(commit);
  }

  watch(options: Parameters<MetaStore["watch"]>[0]): AsyncIterable<Change> {
    return this.#engine.watch(options);
  }

  async close(): Promise<void> {
    this.#onClose();
    await this.#link.close();
    await this.#engine.close();
  }
}
