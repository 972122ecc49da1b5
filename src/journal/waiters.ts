/** Commits whose answer waits for the journal. */
import { type Revision, StoreUnavailable } from "../meta/port.ts";

interface Waiter {
  readonly revision: Revision;
  /** `performance.now()` */
  readonly since: number;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

export class Waiters {
  readonly #waiting = new Set<Waiter>();

  get size(): number {
    return this.#waiting.size;
  }

  wait(revision: Revision): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.add({ revision, since: performance.now(), resolve, reject });
    });
  }

  /** Whether anybody waits for a revision after `after`, up to `until`. */
  some(after: Revision, until: Revision): boolean {
    for (const { revision } of this.#waiting)
      if (revision > after && revision <= until) return true;
    return false;
  }

  /** Milliseconds that the one has waited who has waited longest for a revision after `after`. */
  longest(after: Revision): number {
    const now = performance.now();
    let longest = 0;
    for (const { revision, since } of this.#waiting)
      if (revision > after) longest = Math.max(longest, now - since);
    return longest;
  }

  /** Everything up to `revision` is in the journal. */
  reached(revision: Revision): void {
    for (const waiter of this.#waiting) {
      if (waiter.revision > revision) continue;
      this.#waiting.delete(waiter);
      waiter.resolve();
    }
  }

  /** Refuses those who have waited for `ms`. */
  refuse(ms: number, reason: string): void {
    const now = performance.now();
    for (const waiter of this.#waiting) {
      if (now - waiter.since < ms) continue;
      this.#waiting.delete(waiter);
      waiter.reject(new StoreUnavailable(reason));
    }
  }
}
