/**
 * Healing by pulling: each node looks for blobs that its store should hold and does not, and fetches them from those
 * that do. Nothing is remembered between rounds, so that a healer that was interrupted just goes on by comparing.
 */
import { Beat } from "../../base/beat.ts";
import type { Clock } from "../../base/clock.ts";
import { systemClock } from "../../base/clock.ts";
import type { Logger } from "../../base/log.ts";
import type { PlacedStore } from "../../blobs/placed.ts";
import type { Locator } from "../../blobs/port.ts";
import { keys } from "../../meta/keys.ts";
import { StoreUnavailable, type MetaStore } from "../../meta/port.ts";
import { Others } from "../copies/others.ts";
import type { Nodes } from "../node.ts";
import { follow } from "../nodes/follow.ts";
import type { Peers } from "../peer/port.ts";
import { placement } from "../placement.ts";
import { asking } from "./ask.ts";
import { Backlog } from "./backlog.ts";
import type { CopiedBlob } from "./blob.ts";
import { Newcomers } from "./newcomers.ts";
import type { HealingRecord } from "./numbers.ts";
import { Rate } from "./pace.ts";
import { Repairs } from "./repairs.ts";
import { Rounds } from "./rounds.ts";
import { examine, type Ask, type Finding } from "./survey.ts";
import { viewOf, type View } from "./view.ts";

export interface HealerOptions {
  readonly meta: MetaStore;
  /** This node's own store. */
  readonly blobs: PlacedStore;
  readonly nodes: Nodes;
  readonly peers: Peers;
  /** Stores that should hold each blob. */
  readonly copies: number;
  /** Of these, how many a push waits for; default: a majority. */
  readonly durable?: number | undefined;
  /** A node that has been down for so long is made up for by the others. */
  readonly downAfterMs: number;
  /** Most that is fetched; default 0, no limit. */
  readonly bytesPerSecond?: number;
  readonly log: Logger;
  readonly clock?: Clock;
  /** Milliseconds. */
  readonly times?: Partial<HealingTimes>;
}

/** In milliseconds. */
export interface HealingTimes {
  /** Between looks at the nodes, and at what is to be done. */
  readonly tick: number;
  /** Between rounds in which nothing is found. */
  readonly round: number;
  /** Least between two rounds, while they find something. */
  readonly again: number;
  /** A new blob's copies may take so long to come by themselves. */
  readonly newBlob: number;
  /** Least between two notes of the numbers. */
  readonly publish: number;
  /** A blob must be so old, and the nodes unchanged for so long, before a surplus copy is removed. */
  readonly surplus: number;
}

const TIMES: HealingTimes = {
  tick: 1000,
  round: 600_000,
  again: 2000,
  newBlob: 5000,
  publish: 2000,
  surplus: 3_600_000,
};
/** New blobs looked at together. */
const BATCH = 500;

export interface Healer extends AsyncDisposable {
  /** A read here found that this store lacks a blob which others hold: fetched soon, if it should hold it. */
  want(locator: Locator, size: number): void;
  /** This node's own numbers, as it would publish them now. */
  numbers(): HealingRecord;
}

export function startHealer(options: HealerOptions): Healer {
  return new LocalHealer(options);
}

class LocalHealer implements Healer {
  readonly #options: HealerOptions;
  readonly #times: HealingTimes;
  readonly #ending = new AbortController();
  readonly #backlog = new Backlog();
  readonly #rate = new Rate(() => performance.now());
  readonly #newcomers: Newcomers;
  readonly #ask: Ask;
  readonly #repairs: Repairs;
  readonly #rounds: Rounds;
  readonly #beat: Beat;
  readonly #following: Promise<void>;
  #view: View;
  #viewSince = performance.now();
  #bytesPerSecond = 0;
  #published: { readonly text: string; readonly basis: string | undefined; readonly at: number } = {
    text: "",
    basis: undefined,
    at: -Infinity,
  };

  constructor(options: HealerOptions) {
    this.#options = options;
    this.#times = { ...TIMES, ...options.times };
    this.#view = viewOf(options);
    this.#newcomers = new Newcomers(this.#times.newBlob);
    const { meta, blobs: store, nodes, peers, copies, log } = options;
    const others = new Others({ nodes, peers, copies });
    this.#ask = asking(others, this.#ending.signal);
    this.#repairs = new Repairs(
      { meta, store, others, copies, log, bytesPerSecond: options.bytesPerSecond ?? 0 },
      this.#backlog,
      () => this.#view,
      this.#rate,
    );
    this.#rounds = new Rounds({
      meta,
      store,
      copies,
      log,
      ask: this.#ask,
      isNew: (blob) => this.#isNew(blob),
      times: this.#times,
      backlog: this.#backlog,
      onFinding: (finding) => this.#take(finding),
      made: () => this.#repairs.made,
    });
    this.#beat = new Beat(this.#times.tick, () => this.#tick());
    this.#following = follow({
      meta,
      prefix: keys.blobs,
      signal: this.#ending.signal,
      anew: async () => {
        const { revision } = await meta.get([]);
        this.#rounds.request();
        return revision;
      },
      take: (change) => {
        if (!this.#newcomers.take(change, performance.now())) this.#rounds.request();
        if (change.changes.some(({ value }) => value === undefined)) this.#rounds.changed(0);
      },
    }).catch((error: unknown) => {
      log.error("new blobs cannot be followed: they are found when all are looked through", {
        error,
      });
    });
  }

  want(locator: Locator, size: number): void {
    const { self, placed, durable } = this.#view;
    if (self === undefined) return;
    const { holders } = placement(locator, placed, this.#options.copies, durable);
    if (!holders.includes(self)) return;
    // The read has found it at one holder at least.
    this.#backlog.add({ locator, size }, 1);
    this.#repairs.wake();
  }

  numbers(): HealingRecord {
    const { basis, endangered } = this.#rounds;
    const run = this.#view.self?.run;
    return {
      ...(run === undefined ? {} : { run }),
      ...(basis === undefined ? {} : { basis }),
      missing: this.#backlog.blobs,
      missingBytes: this.#backlog.bytes,
      endangered,
      bytesPerSecond: this.#bytesPerSecond,
      repairs: this.#repairs.list,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ending.abort();
    await Promise.all([
      this.#beat.stop(this.#times.publish),
      this.#rounds.stop(),
      this.#repairs.stop(),
      this.#following,
    ]);
  }

  async #tick(): Promise<void> {
    const view = viewOf(this.#options);
    const isChanged = view.basis !== this.#view.basis;
    this.#view = view;
    if (isChanged) this.#viewSince = performance.now();
    this.#rounds.see(view);
    this.#bytesPerSecond = this.#rate.perSecond;
    // Those that could not be looked at are found by the next round.
    await this.#attempt(() => this.#lookAtNewcomers()).catch(() => this.#rounds.request());
    this.#repairs.wake();
    await this.#attempt(() => this.#publish()).catch(() => undefined);
  }

  /** Rejects as `work` does, having said so where it is unexpected. */
  async #attempt(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      const isExpected = error instanceof StoreUnavailable || this.#ending.signal.aborted;
      if (!isExpected) this.#options.log.error("healing failed for now", { error });
      throw error;
    }
  }

  async #lookAtNewcomers(): Promise<void> {
    const { blobs: store, copies } = this.#options;
    const ask = this.#ask;
    for (;;) {
      const due = this.#newcomers.due(performance.now(), BATCH);
      if (due.length === 0) return;
      const findings = await examine({ store, view: this.#view, copies, ask }, due);
      for (const finding of findings) await this.#take(finding);
      this.#rounds.changed(findings.filter(({ isEndangered }) => isEndangered).length);
    }
  }

  async #take({ blob, here, copies }: Finding): Promise<boolean> {
    if (here === "missing") {
      const isKept = this.#backlog.add(blob, copies);
      this.#repairs.wake();
      return isKept;
    }
    if (here === "surplus" && this.#isSettled(blob.at)) {
      await this.#options.blobs.delete(blob.locator);
      this.#options.log.debug("removed a copy that other nodes hold", { locator: blob.locator });
    }
    return true;
  }

  /** Its copies may be on the way. Of two clocks that differ one may call it old, and counts it a little early. */
  #isNew(blob: CopiedBlob): boolean {
    const { clock = systemClock } = this.#options;
    const age = clock.now() - blob.at;
    if (age < 0 || age > this.#times.newBlob) return false;
    this.#newcomers.add(blob, performance.now());
    return true;
  }

  /** Nodes that see different nodes might each remove what they believe the other keeps: in an hour they agree. */
  #isSettled(at: number): boolean {
    const { clock = systemClock } = this.#options;
    const { surplus } = this.#times;
    return clock.now() - at > surplus && performance.now() - this.#viewSince > surplus;
  }

  async #publish(): Promise<void> {
    const { self } = this.#view;
    const now = performance.now();
    const numbers = this.numbers();
    // That nothing is known any more is said at once.
    const isDue = now - this.#published.at >= this.#times.publish;
    if (self === undefined || (!isDue && numbers.basis === this.#published.basis)) return;
    const text = JSON.stringify(numbers);
    if (text === this.#published.text) return;
    this.#published = { text: "", basis: numbers.basis, at: now };
    await this.#options.meta.commit({ put: [{ key: keys.healing(self.name), value: text }] });
    this.#published = { text, basis: numbers.basis, at: now };
  }
}
