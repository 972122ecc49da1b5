/** Working off what is missing: a few copies at once, the most endangered first. */
import type { Logger } from "../../base/log.ts";
import type { PlacedStore } from "../../blobs/placed.ts";
import {
  BlobStoreFull,
  BlobStoreUnavailable,
  type Locator,
  type StoredBlob,
} from "../../blobs/port.ts";
import { StoreUnavailable, type MetaStore } from "../../meta/port.ts";
import type { Others } from "../copies/others.ts";
import { placement } from "../placement.ts";
import type { Backlog } from "./backlog.ts";
import { isWanted } from "./blob.ts";
import { fetchCopy } from "./fetch.ts";
import type { Repair } from "./numbers.ts";
import { Pace, type Rate } from "./pace.ts";
import type { View } from "./view.ts";

const AT_ONCE = 4;
/** Where nothing can be copied at present, it is not tried with one blob after another. */
const PAUSE_MS = 5000;
/** Failures to copy come in thousands: so often one of them is told. */
const TOLD_MS = 10_000;

export interface RepairsOptions {
  readonly meta: MetaStore;
  readonly store: PlacedStore;
  readonly others: Others;
  readonly copies: number;
  /** 0: no limit. */
  readonly bytesPerSecond: number;
  readonly log: Logger;
}

export class Repairs {
  readonly #options: RepairsOptions;
  readonly #backlog: Backlog;
  readonly #view: () => View;
  readonly #rate: Rate;
  readonly #pace: Pace;
  readonly #ending = new AbortController();
  readonly #running = new Map<Locator, { readonly work: Promise<void>; repair?: Repair }>();
  /** Copies made by this process. */
  made = 0;
  #pausedUntil = 0;
  #told = -Infinity;
  #untold = 0;

  constructor(options: RepairsOptions, backlog: Backlog, view: () => View, rate: Rate) {
    this.#options = options;
    this.#backlog = backlog;
    this.#view = view;
    this.#rate = rate;
    this.#pace = new Pace(options.bytesPerSecond);
  }

  /** Those under way. */
  get list(): readonly Repair[] {
    return [...this.#running.values()].flatMap(({ repair }) => repair ?? []);
  }

  /** To be called when there may be something to do. */
  wake(): void {
    if (performance.now() < this.#pausedUntil) return;
    while (this.#running.size < AT_ONCE && !this.#ending.signal.aborted) {
      const blob = this.#backlog.take();
      if (blob === undefined) return;
      this.#running.set(blob.locator, { work: this.#run(blob) });
    }
  }

  async stop(): Promise<void> {
    this.#ending.abort();
    await Promise.all([...this.#running.values()].map(({ work }) => work));
  }

  async #run(blob: StoredBlob): Promise<void> {
    // Not before it is in the list.
    await Promise.resolve();
    let isDone = false;
    try {
      isDone = await this.#repair(blob);
    } catch (error) {
      this.#failed(blob, error);
    } finally {
      if (isDone) this.#backlog.done(blob);
      else this.#backlog.failed(blob);
      this.#running.delete(blob.locator);
      this.wake();
    }
  }

  #failed({ locator }: StoredBlob, error: unknown): void {
    const { log } = this.#options;
    const reason = error instanceof Error ? error.message : String(error);
    const isOurs = error instanceof StoreUnavailable || error instanceof BlobStoreFull;
    if (isOurs) this.#pausedUntil = performance.now() + PAUSE_MS;
    if (!isOurs && !(error instanceof BlobStoreUnavailable)) {
      log.error("copying a blob here failed", { locator, error });
    } else if (performance.now() - this.#told > TOLD_MS) {
      log.warn("a blob could not be copied here", { locator, reason, untold: this.#untold });
      this.#told = performance.now();
      this.#untold = 0;
    } else this.#untold++;
  }

  /** Resolves to whether nothing is left to do for the blob. */
  async #repair(blob: StoredBlob): Promise<boolean> {
    const { meta, store, copies, log } = this.#options;
    const { locator, size } = blob;
    const { self, placed, durable } = this.#view();
    const place = placement(locator, placed, copies, durable);
    if (self === undefined || !place.holders.includes(self)) return true;
    const found = await store.stat(locator);
    if (found === size) return true;
    if (!(await isWanted(meta, store, blob))) return true;
    if (found !== undefined)
      log.error("a copy is rotten: it is replaced", { locator, size, found, node: self.name });

    const outcome = await fetchCopy(
      { ...this.#options, pace: this.#pace, signal: this.#ending.signal },
      {
        blob,
        isReplaced: found !== undefined,
        onProgress: (from, done, bytes) => this.#progress(blob, from, done, bytes),
        isStillWanted: () => isWanted(meta, store, blob),
      },
    );
    if (outcome === "held") {
      this.made++;
      return this.#confirm(blob);
    }
    if (outcome === "rotten")
      log.error("no node that can be reached gives a blob's right bytes", { locator });
    return outcome === "unwanted";
  }

  /** A deletion that was committed meanwhile may have looked for the copy here before it was there. */
  async #confirm(blob: StoredBlob): Promise<boolean> {
    const { meta, store } = this.#options;
    // Where nobody can say it stays, since others may count it already: what is unknown is looked for once a day.
    if (!(await isWanted(meta, store, blob))) await store.delete(blob.locator);
    return true;
  }

  #progress(blob: StoredBlob, from: readonly string[], doneBytes: number, bytes: number): void {
    this.#rate.add(bytes);
    const entry = this.#running.get(blob.locator);
    if (entry === undefined) return;
    const digest = this.#options.store.digestOf(blob.locator) ?? blob.locator;
    entry.repair = { digest, from: from.at(-1) ?? "", doneBytes, totalBytes: blob.size };
  }
}
