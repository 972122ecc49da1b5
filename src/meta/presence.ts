/**
 * Which processes of an installation live. Each beats in a record of its own and watches the beats of the others
 * by its own monotonic clock, so that no two clocks are ever compared.
 */
import { Beat } from "../base/beat.ts";
import { keys, lastPart } from "./keys.ts";
import { StoreUnavailable, type MetaStore } from "./port.ts";

const BEAT_MS = 2000;
/** A process whose beat stood still for so long is taken for dead. */
const DEAD_MS = 10_000;
/** Runs looked at; more processes than that are no one installation. */
const RUNS_MAX = 1000;

interface Sighting {
  readonly beat: string;
  /** `performance.now()` when the beat was first seen. */
  readonly since: number;
}

export interface PresenceOptions {
  readonly meta: MetaStore;
  /** Names this process among all that ever ran. */
  readonly run: string;
  /** False for one that sees the others, and whom nobody needs to see. Default true. */
  readonly isSeen?: boolean;
}

export class Presence implements AsyncDisposable {
  readonly #meta: MetaStore;
  readonly run: string;
  readonly #isSeen: boolean;
  readonly #seen = new Map<string, Sighting>();
  #beats = 0;
  /** `performance.now()` of the latest look at the others. */
  #looked = performance.now();
  readonly #loop: Beat;

  private constructor({ meta, run, isSeen = true }: PresenceOptions) {
    this.#meta = meta;
    this.run = run;
    this.#isSeen = isSeen;
    // A beat that fails is made up for by the next.
    this.#loop = new Beat(BEAT_MS, () => this.#beat().catch(() => {}));
  }

  /** Resolves when the others can see this process. Throws `StoreUnavailable`. */
  static async begin(options: PresenceOptions): Promise<Presence> {
    const presence = new Presence(options);
    try {
      await presence.#beat();
      return presence;
    } catch (error) {
      await presence.#loop.stop(0);
      throw error;
    }
  }

  /** False only for a process that has ended, or has stood still for ten seconds. Throws `StoreUnavailable`. */
  async isAlive(run: string): Promise<boolean> {
    if (run === this.run) return true;
    const { entries } = await this.#meta.get([keys.alive(run)]);
    const beat = entries[0]?.value;
    if (beat === undefined) return false;
    return !this.#isStill(run, beat);
  }

  /** Says that a process has ended, for one that knows: its parent. */
  async buried(run: string): Promise<void> {
    await this.#meta.commit({ delete: [keys.alive(run)] });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#loop.stop(BEAT_MS);
    if (!this.#isSeen) return;
    try {
      await this.buried(this.run);
    } catch (error) {
      // The others find out by themselves.
      if (!(error instanceof StoreUnavailable)) throw error;
    }
  }

  #isStill(run: string, beat: string): boolean {
    // Whoever could not look has not seen anybody stand still.
    if (performance.now() - this.#looked > DEAD_MS / 2) this.#seen.clear();
    const seen = this.#seen.get(run);
    if (seen?.beat === beat) return performance.now() - seen.since > DEAD_MS;
    this.#seen.set(run, { beat, since: performance.now() });
    return false;
  }

  async #beat(): Promise<void> {
    this.#beats++;
    const value = JSON.stringify(this.#beats);
    if (this.#isSeen) await this.#meta.commit({ put: [{ key: keys.alive(this.run), value }] });
    const { entries, stale } = await this.#meta.scan({ prefix: keys.alives, limit: RUNS_MAX });
    // Without a majority nobody's beats can be written.
    if (stale) return;
    const dead: string[] = [];
    const present = new Set<string>();
    for (const { key, value } of entries) {
      const run = lastPart(key);
      present.add(run);
      if (run !== this.run && this.#isStill(run, value)) dead.push(key);
    }
    for (const run of this.#seen.keys()) if (!present.has(run)) this.#seen.delete(run);
    this.#looked = performance.now();
    // One that only stood still beats again and is back.
    if (dead.length > 0) await this.#meta.commit({ delete: dead.slice(0, 100) });
  }
}
