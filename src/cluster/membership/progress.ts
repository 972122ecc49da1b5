/** Tells an operator what a node waits for: soon when it changes, and every ten seconds. */
import type { Logger } from "../../base/log.ts";

const AGAIN_MS = 10_000;
/** Several members may each have a reason of their own, told in turn. */
const CHANGED_MS = 3000;

export class WaitLog {
  readonly #log: Logger;
  readonly #began = performance.now();
  #told: string | undefined;
  #toldAt = -Infinity;

  constructor(log: Logger) {
    this.#log = log;
  }

  /** `because`: what it waits for, a sentence without a full stop. */
  waits(because: string): void {
    const now = performance.now();
    if (now - this.#toldAt < (because === this.#told ? AGAIN_MS : CHANGED_MS)) return;
    this.#told = because;
    this.#toldAt = now;
    const seconds = Math.round((now - this.#began) / 1000);
    this.#log.warn(`waiting for the cluster: ${because}`, { seconds });
  }
}
