/** When all blobs are looked through, and what comes of it. */
import type { Logger } from "../../base/log.ts";
import { waited } from "../../base/waited.ts";
import type { PlacedStore } from "../../blobs/placed.ts";
import { StoreUnavailable, type MetaStore } from "../../meta/port.ts";
import type { CopiedBlob } from "./blob.ts";
import type { Backlog } from "./backlog.ts";
import { survey, type Ask, type Finding } from "./survey.ts";
import type { View } from "./view.ts";

export interface RoundsOptions {
  readonly meta: MetaStore;
  readonly store: PlacedStore;
  readonly copies: number;
  readonly log: Logger;
  readonly ask: Ask;
  /** Takes a blob that has only just been pushed; false for any other. */
  readonly isNew: (blob: CopiedBlob) => boolean;
  /** Milliseconds. */
  readonly times: {
    readonly round: number;
    readonly again: number;
    readonly newBlob: number;
    readonly tick: number;
  };
  readonly backlog: Backlog;
  /** Resolves to false for a missing blob that there is no room to remember. */
  readonly onFinding: (finding: Finding) => Promise<boolean>;
  /** Copies made so far. */
  readonly made: () => number;
}

/** A round may take this part of the time while rounds find something. */
const BUSY_PART = 1 / 4;

export class Rounds {
  readonly #options: RoundsOptions;
  readonly #ending = new AbortController();
  #view: View | undefined;
  /** Monotonic milliseconds when the next begins. */
  #due = 0;
  #round: { readonly work: Promise<void>; readonly cut: AbortController } | undefined;
  /** Of the view under which the latest round was completed. */
  #basis: string | undefined;
  #endangered = 0;
  /** Of the endangered, those that were found beside the round under way, which may not count them. */
  #besides = 0;
  #wait = 0;
  /** Monotonic milliseconds before which the next does not begin, unless the nodes change. */
  #earliest = 0;
  #outcome = "";
  /** Since the latest round began. */
  #isRequested = false;

  constructor(options: RoundsOptions) {
    this.#options = options;
  }

  /** Spells the view that the numbers are about; `undefined` until all blobs were looked through under the present one. */
  get basis(): string | undefined {
    return this.#basis;
  }

  get endangered(): number {
    return this.#endangered;
  }

  /** Something may have been missed: the numbers say nothing until all blobs are looked through anew. */
  request(): void {
    this.#basis = undefined;
    this.#isRequested = true;
    this.#due = 0;
  }

  /** Blobs have come or gone: `endangered` of those that came were found to be so. */
  changed(endangered: number): void {
    this.#endangered += endangered;
    this.#besides += endangered;
    if (this.#isWhole()) return;
    this.#wait = 0;
    this.#due = Math.min(this.#due, this.#earliest);
  }

  /** To be called again and again with the present view: begins the round that is due. */
  see(view: View): void {
    const isChanged = this.#view?.basis !== view.basis;
    this.#view = view;
    if (isChanged) {
      this.#basis = undefined;
      this.#wait = 0;
      this.#due = 0;
      this.#round?.cut.abort();
      // The next look begins it, if the nodes have come to rest by then.
      return;
    }
    if (this.#round !== undefined || view.self === undefined || this.#ending.signal.aborted) return;
    if (performance.now() < this.#due) return;
    const cut = new AbortController();
    this.#due = Infinity;
    const work = this.#run(view, AbortSignal.any([cut.signal, this.#ending.signal])).finally(() => {
      this.#round = undefined;
    });
    this.#round = { work, cut };
  }

  async stop(): Promise<void> {
    this.#ending.abort();
    await this.#round?.work;
  }

  async #run(view: View, signal: AbortSignal): Promise<void> {
    const { backlog, onFinding, times, log } = this.#options;
    const began = performance.now();
    let endangered = 0;
    let blobs = 0;
    let bytes = 0;
    let sawNew = false;
    const isNew = (blob: CopiedBlob): boolean => {
      const answer = this.#options.isNew(blob);
      sawNew ||= answer;
      return answer;
    };
    backlog.surveyBegins();
    this.#besides = 0;
    this.#isRequested = false;
    try {
      for await (const findings of survey({ ...this.#options, isNew, view, signal })) {
        // Each after those with fewer copies.
        for (const finding of findings.sort((a, b) => a.copies - b.copies)) {
          if (finding.isEndangered) endangered++;
          if (await onFinding(finding)) continue;
          blobs++;
          bytes += finding.blob.size;
        }
      }
      const tookMs = performance.now() - began;
      // Zero is not claimed of those that are new before they were looked at.
      if (sawNew) await waited(times.newBlob + 2 * times.tick, signal);
      if (signal.aborted) return;
      backlog.surveyEnds({ blobs, bytes });
      this.#endangered = endangered + this.#besides;
      this.#basis = this.#isRequested ? undefined : view.basis;
      this.#plan(tookMs);
    } catch (error) {
      // A cut round is followed by that of the new view.
      if (signal.aborted) return;
      this.#due = performance.now() + times.again;
      if (!(error instanceof StoreUnavailable))
        log.error("looking through all blobs failed for now", { error });
    }
  }

  /** Soon again while copies are being made, here or elsewhere; ever later while nothing changes. */
  #plan(tookMs: number): void {
    const { backlog, made, times } = this.#options;
    const outcome = `${this.#endangered} ${backlog.blobs} ${made()}`;
    const least = Math.max(times.again, tookMs / BUSY_PART);
    this.#wait = outcome === this.#outcome ? Math.max(2 * this.#wait, least) : least;
    this.#outcome = outcome;
    const wait = this.#isWhole() ? times.round : Math.min(this.#wait, times.round);
    const now = performance.now();
    this.#earliest = now + least;
    // Unless it was asked for meanwhile.
    this.#due = this.#due === Infinity ? now + wait : Math.max(this.#due, this.#earliest);
  }

  #isWhole(): boolean {
    return this.#endangered === 0 && this.#options.backlog.blobs === 0;
  }
}
