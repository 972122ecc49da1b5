/**
 * Follows every commit of the store and writes it down beside the bytes, in segments. Any number of nodes do so at
 * once: their segments overlap, and together they have no gap, because a segment always begins where the journal is
 * known to reach.
 */
import { unlessAborted } from "../base/abort.ts";
import { describe, type Logger } from "../base/log.ts";
import type { Clock } from "../base/clock.ts";
import type { ObjectStore } from "../blobs/objects.ts";
import { requireFresh } from "../meta/fresh.ts";
import { keys } from "../meta/keys.ts";
import {
  type Change,
  type MetaStore,
  type Revision,
  RevisionCompacted,
  StoreUnavailable,
} from "../meta/port.ts";
import { EMPTIED, JournalAhead, JournalError } from "./errors.ts";
import { segmentName } from "./names.ts";
import { Pending } from "./pending.ts";
import { Teller, toldBy } from "./position.ts";
import { commitLine, encodeSegment } from "./segment.ts";
import { type Manifest, writeSnapshot } from "./snapshot.ts";
import { Trouble } from "./trouble.ts";
import { Waiters } from "./waiters.ts";
import { Wake } from "./wake.ts";
import { installationIn, isWipe } from "./wipe.ts";

/** `before-answer`: a commit is in the journal before it is answered for; `behind`: at most two seconds later. */
export type RecorderMode = "before-answer" | "behind";

export interface RecorderOptions {
  readonly store: MetaStore;
  readonly objects: ObjectStore;
  /** Names this node among those that live, `[A-Za-z0-9_-]+`. */
  readonly writer: string;
  readonly installation: string;
  readonly mode: RecorderMode;
  /** Whether other nodes record the same store. */
  readonly shared: boolean;
  readonly clock: Clock;
  readonly log: Logger;
  /** Characters of commits kept in memory while the journal cannot be written; default 32 Mi. */
  readonly bufferMax?: number;
}

export interface JournalStatus {
  /** The latest revision that has been heard of. */
  readonly heard: Revision;
  /** Every commit up to this revision is in the journal. */
  readonly covered: Revision;
  /** Segments name every revision up to this one: the history before it is not needed for the journal's sake. */
  readonly written: Revision;
  /** Commits heard of that are not, and how long the first of them has been waiting, in milliseconds. */
  readonly behind: { readonly commits: number; readonly ms: number };
  /** Why the journal is not being written at present. */
  readonly trouble: string | undefined;
  /** False while the journal waits for the snapshot that bridges a gap. */
  readonly complete: boolean;
  /** Written by this process. */
  readonly segments: number;
  readonly bytes: number;
}

/** Milliseconds that a commit nobody waits for may wait for company. */
const LINGER_MS: Readonly<Record<RecorderMode, number>> = { "before-answer": 2000, behind: 1000 };
/** Milliseconds of trouble after which commits are refused. */
const PATIENCE_MS = 2000;
/** Milliseconds that the journal may be behind before commits wait for it in any mode. */
const BEHIND_MAX_MS = 1500;
/** Milliseconds that a commit waits for a journal that is slow but not in trouble. */
const SLOW_MAX_MS = 10_000;
const ATTEND_MS = 50;
/** How long after a commit its event may be missing before a commit of our own calls for one. */
const NUDGE_MS = 250;
const SEGMENT_MAX = 4 * 2 ** 20;
const BUFFER_MAX = 32 * 2 ** 20;
/** Revisions without anything to write down after which the journal says so, so that history need not be kept for it. */
const EMPTY_RUN = 1000;
const RETRY_MS = 1000;

export class Recorder {
  readonly #options: RecorderOptions;
  readonly #pending = new Pending();
  readonly #waiters = new Waiters();
  /** Wait until segments name a revision, whether or not there is anything to write. */
  readonly #sealers = new Waiters();
  readonly #work = new Wake();
  readonly #drained = new Wake();
  readonly #ending = new AbortController();
  readonly #teller: Teller;
  readonly #trouble: Trouble;
  readonly #loops: Promise<unknown>;
  #heard: Revision;
  /** The first commit of ours that the watch has yet to tell of. */
  #unheard: { readonly revision: Revision; readonly since: number } | undefined;
  /** Segments reach this revision without a gap: ours, and those of nodes that said so. */
  #durable: Revision;
  /** False from a gap in what was heard until a snapshot bridges it. */
  #complete = true;
  /** `performance.now()`; `Infinity` while it is complete. */
  #incompleteSince = Infinity;
  #gaps = 0;
  #lastAt = 0;
  #segments = 0;
  #bytes = 0;
  #attending: ReturnType<typeof setInterval> | undefined;
  #closing: Promise<void> | undefined;

  /** See `startRecorder`. `end` is where the journal ends; `undefined` makes it begin with a snapshot. */
  constructor(options: RecorderOptions, end: Revision | undefined) {
    this.#options = options;
    this.#heard = this.#durable = end ?? 0;
    this.#teller = new Teller(options.store, options.writer, options.clock);
    this.#trouble = new Trouble(options.log);
    this.#loops = Promise.all([this.#follow(end === undefined), this.#write()]);
  }

  /** Throws `StoreUnavailable` while the journal has been in trouble for long: nothing may be committed then. */
  requireRecording(): void {
    if (this.#ending.signal.aborted) throw new StoreUnavailable("the journal was closed");
    const reason = this.#trouble.since(PATIENCE_MS);
    if (reason !== undefined) throw new StoreUnavailable(reason);
    // A commit that cannot be answered for in time had better not happen.
    const { mode } = this.#options;
    if (mode === "before-answer" && performance.now() - this.#incompleteSince > PATIENCE_MS)
      throw new StoreUnavailable("the journal begins anew with a snapshot, which is being written");
  }

  /**
   * Resolves once everything up to a revision that has been committed is in the journal; `behind`, at once unless it
   * is too far behind: a machine that is busy with commits alone would never come to writing them down. Throws
   * `StoreUnavailable` when it does not come to it: the commit has happened, but must not be answered for.
   */
  async covers(revision: Revision): Promise<void> {
    if (revision > this.#heard) this.#unheard ??= { revision, since: performance.now() };
    if (this.#options.mode === "behind" && this.#behindMs() < BEHIND_MAX_MS) return;
    await this.#covered(revision);
  }

  status(): JournalStatus {
    return {
      heard: this.#heard,
      covered: this.#reach(),
      written: this.#complete ? this.#durable : 0,
      behind: { commits: this.#pending.count, ms: this.#behindMs() },
      trouble: this.#trouble.since(0),
      complete: this.#complete,
      segments: this.#segments,
      bytes: this.#bytes,
    };
  }

  /**
   * Resolves once the journal makes the state of a revision that has been committed, and segments name it, whether or
   * not there was anything to write. Throws the signal's reason, and `StoreUnavailable` when the journal is closed.
   */
  async seal(revision: Revision, signal: AbortSignal): Promise<void> {
    const ended = AbortSignal.any([this.#ending.signal, signal]);
    await unlessAborted(this.#wait(this.#sealers, this.#durable, revision), ended);
    if (!this.#complete) await this.snapshot(signal);
  }

  /** Writes a snapshot, from which a later rebuild can start. */
  async snapshot(signal?: AbortSignal): Promise<Manifest> {
    const { store, objects, installation, clock } = this.#options;
    const gaps = this.#gaps;
    const ended = AbortSignal.any([this.#ending.signal, ...(signal ? [signal] : [])]);
    const sealed = async (revision: Revision) => {
      await unlessAborted(this.#wait(this.#sealers, this.#durable, revision), ended);
      if (gaps !== this.#gaps)
        throw new JournalError("the journal got a gap while a snapshot was made: make another");
    };
    const options = { store, objects, installation, clock, sealed, signal: ended };
    const manifest = await writeSnapshot(options);
    if (gaps === this.#gaps) {
      this.#complete = true;
      this.#incompleteSince = Infinity;
    }
    this.#settle();
    return manifest;
  }

  /** Writes what was committed before the call, then stops. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  /** Every commit up to here is in the journal, as far as there was anything to write. */
  #reach(): Revision {
    if (!this.#complete) return 0;
    const { first } = this.#pending;
    return first === undefined ? this.#heard : Math.max(first.revision - 1, this.#durable);
  }

  #behindMs(): number {
    const oldest = this.#pending.first?.heard ?? this.#unheard?.since;
    return oldest === undefined ? 0 : performance.now() - oldest;
  }

  #covered(revision: Revision): Promise<void> {
    return this.#wait(this.#waiters, this.#reach(), revision);
  }

  async #wait(waiters: Waiters, reach: Revision, revision: Revision): Promise<void> {
    if (revision <= reach) return;
    const waited = waiters.wait(revision);
    this.#attending ??= setInterval(() => this.#attend(), ATTEND_MS);
    this.#work.wake();
    await waited;
  }

  /** Looks after those who wait. */
  #attend(): void {
    if (this.#waiters.size + this.#sealers.size === 0) {
      clearInterval(this.#attending);
      this.#attending = undefined;
      return;
    }
    // A commit without effect has no event, and others may never come: one of ours does, and is later.
    const unheard = Math.max(
      this.#waiters.longest(this.#heard),
      this.#sealers.longest(this.#heard),
    );
    if (unheard > NUDGE_MS) this.#teller.nudge();
    const reason = this.#trouble.since(0);
    if (reason !== undefined) this.#waiters.refuse(PATIENCE_MS, reason);
    this.#waiters.refuse(SLOW_MAX_MS, "the journal is too far behind");
  }

  #settle(): void {
    if (this.#waiters.size > 0) this.#waiters.reached(this.#reach());
    if (this.#sealers.size > 0) this.#sealers.reached(this.#durable);
  }

  async #follow(anew: boolean): Promise<void> {
    const { store } = this.#options;
    const { signal } = this.#ending;
    let startOver = anew;
    while (!signal.aborted) {
      try {
        if (startOver) await this.#startOver();
        startOver = false;
        await this.#requireForward();
        for await (const change of store.watch({ prefix: "", after: this.#heard, signal })) {
          if (isWipe(change)) await this.#requireInstallation();
          this.#trouble.following();
          this.#take(change);
          while (this.#isFull() && !signal.aborted) await this.#drained.wait(Infinity);
        }
      } catch (error) {
        if (signal.aborted) return;
        if (error instanceof RevisionCompacted) {
          startOver = true;
          continue;
        }
        this.#trouble.notFollowing(error);
        await Bun.sleep(RETRY_MS / 2);
      }
    }
  }

  /** A database that has gone back gives revisions out again: what it says now would corrupt the journal. */
  async #requireForward(): Promise<void> {
    const { revision } = requireFresh(await this.#options.store.get([]));
    if (revision < this.#heard)
      throw new JournalAhead(
        `the database went back from revision ${this.#heard} to ${revision}, as after a failover that lost commits: stop all nodes, empty the database and run \`holdfast rebuild\``,
      );
  }

  /** An emptied database is to be rebuilt: that it was emptied is not written down, nor what came afterwards. */
  async #requireInstallation(): Promise<void> {
    const { store, installation } = this.#options;
    const { entries } = requireFresh(await store.get([keys.installation]));
    if (installationIn(entries[0]?.value) !== installation) throw new JournalError(EMPTIED);
  }

  #isFull(): boolean {
    return this.#pending.characters >= (this.#options.bufferMax ?? BUFFER_MAX);
  }

  #take(change: Change): void {
    this.#heard = change.revision;
    if (this.#unheard && this.#unheard.revision <= this.#heard) this.#unheard = undefined;
    this.#lastAt = Math.max(this.#lastAt, this.#options.clock.now());
    const line = commitLine(change, this.#lastAt);
    if (line !== undefined) this.#pending.add(change.revision, line);
    const told = toldBy(change);
    if (told > this.#durable) this.#advance(told);
    else this.#settle();
    this.#work.wake();
  }

  /** Segments reach `revision`. */
  #advance(revision: Revision): void {
    if (revision > this.#durable) this.#durable = revision;
    this.#pending.dropTo(this.#durable);
    if (this.#pending.count === 0) this.#trouble.writing();
    this.#settle();
    this.#drained.wake();
  }

  /** Commits have passed unheard: what comes from now on is good for nothing without a snapshot of now. */
  async #startOver(): Promise<void> {
    const { signal } = this.#ending;
    this.#options.log.warn("the journal has missed commits: it goes on with a new snapshot");
    while (this.#pending.count > 0 && !signal.aborted) await this.#drained.wait(Infinity);
    const { revision } = requireFresh(await this.#options.store.get([]));
    this.#gaps++;
    this.#heard = this.#durable = revision;
    this.#unheard = undefined;
    const bridging = !this.#complete;
    this.#complete = false;
    this.#incompleteSince = Math.min(this.#incompleteSince, performance.now());
    if (!bridging) void this.#completeAgain();
  }

  async #completeAgain(): Promise<void> {
    const { signal } = this.#ending;
    do {
      try {
        await this.snapshot();
      } catch (error) {
        if (signal.aborted) return;
        this.#options.log.warn("no snapshot could be written", { error: describe(error) });
        await Bun.sleep(RETRY_MS);
      }
    } while (!this.#complete && !signal.aborted);
  }

  async #write(): Promise<void> {
    while (!this.#ending.signal.aborted) {
      const wait = Math.max(this.#dueIn(), this.#trouble.retryIn());
      if (wait > 0) await this.#work.wait(wait);
      else await this.#writeSegment();
    }
  }

  /** Milliseconds until a segment is to be written. */
  #dueIn(): number {
    const { first, characters } = this.#pending;
    if (this.#sealers.some(this.#durable, this.#heard)) return 0;
    if (first === undefined) return this.#heard - this.#durable >= EMPTY_RUN ? 0 : Infinity;
    if (characters >= SEGMENT_MAX || this.#isFull()) return 0;
    if (this.#waiters.some(first.revision - 1, this.#heard)) return 0;
    return Math.max(0, first.heard + LINGER_MS[this.#options.mode] - performance.now());
  }

  async #writeSegment(): Promise<void> {
    const { installation, writer, clock, objects, shared } = this.#options;
    const gaps = this.#gaps;
    const after = this.#durable;
    const { lines, last: taken, all } = this.#pending.take(SEGMENT_MAX);
    const last = all ? this.#heard : taken;
    const header = { installation, writer, after, last, at: clock.now() };
    try {
      const bytes = await encodeSegment(header, lines);
      await this.#trouble.watched(objects.put(segmentName(after, last, writer), bytes));
      this.#segments++;
      this.#bytes += bytes.byteLength;
    } catch (error) {
      this.#trouble.notWriting(error);
      return;
    }
    this.#trouble.writing();
    if (gaps !== this.#gaps) return;
    this.#advance(last);
    if (shared && this.#complete) this.#teller.note(this.#durable);
  }

  async #close(): Promise<void> {
    try {
      const { revision } = await this.#options.store.get([]);
      await this.#covered(revision);
    } catch (error) {
      this.#options.log.warn("the journal lacks the last commits", { error: describe(error) });
    }
    this.#ending.abort();
    clearInterval(this.#attending);
    this.#teller.close();
    this.#waiters.refuse(0, "the journal was closed");
    this.#sealers.refuse(0, "the journal was closed");
    this.#work.wake();
    this.#drained.wake();
    // A write that hangs is left to itself.
    await Promise.race([this.#loops, Bun.sleep(RETRY_MS)]);
  }
}
