/** How long an upload waits for the nodes that it streams to: for those it needs, and a little for the others. */
import type { Shadow } from "./shadow.ts";

/** A node that nobody needs to wait for may hold the others for so many milliseconds, and this part of the time. */
const PATIENCE_MS = 300;
const PATIENCE_PART = 1 / 2;

export class KeepUp {
  readonly #shadows: readonly Shadow[];
  readonly #wanted: number;
  readonly #began = performance.now();
  #change = Promise.withResolvers<void>();
  #waiting: Promise<void> | undefined;

  /** `wanted` of the shadows must keep up as long as there are so many. */
  constructor(shadows: readonly Shadow[], wanted: number) {
    this.#shadows = shadows;
    this.#wanted = wanted;
  }

  /** To be called when a shadow has room again, or is lost. */
  changed(): void {
    this.#change.resolve();
    this.#change = Promise.withResolvers();
  }

  /** Resolves when more may be written. */
  room(): Promise<void> {
    if (!this.#shadows.some((shadow) => shadow.isFull)) return Promise.resolve();
    this.#waiting ??= this.#wait().finally(() => {
      this.#waiting = undefined;
    });
    return this.#waiting;
  }

  async #wait(): Promise<void> {
    for (;;) {
      const full = this.#shadows.filter((shadow) => shadow.isFull);
      if (full.length === 0) return;
      const alive = this.#shadows.filter(({ failure }) => failure === undefined);
      // As long as enough of the others have bytes to send, it is not the full ones alone that hold the client. Those
      // that are needed end by themselves when they stand still.
      if (alive.filter(({ isIdle }) => isIdle).length < this.#wanted) {
        await this.#change.promise;
        continue;
      }
      const now = performance.now();
      const limit = PATIENCE_MS + (now - this.#began) * PATIENCE_PART;
      for (const shadow of full) {
        if (shadow.held >= limit) shadow.drop(new Error("it is slower than the others"));
      }
      const left = Math.min(...full.map(({ held }) => limit - held));
      if (left <= 0) continue;
      await changedWithin(this.#change.promise, left);
      for (const shadow of full) shadow.held += performance.now() - now;
    }
  }
}

/** Resolves when `change` does, or after `ms` milliseconds. */
async function changedWithin(change: Promise<void>, ms: number): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, ms);
  await Promise.race([change, promise]);
  clearTimeout(timer);
}
