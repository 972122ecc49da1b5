/** Gets that arrive while one is on its way share the next transaction. */
import type { GetResult } from "../port.ts";
import { KEYS_MAX, type Reader } from "./reader.ts";

/** Transactions on their way at once; a further one than the first only when it is worth its while. */
const FLIGHTS_MAX = 4;
const WORTH_KEYS = 48;
/** Nobody waits longer for one that is on its way. */
const SLOW_MS = 100;

interface Waiting {
  readonly keys: readonly string[];
  readonly resolve: (result: GetResult) => void;
  readonly reject: (error: unknown) => void;
}

interface Flight {
  readonly group: readonly Waiting[];
  readonly keys: readonly string[];
}

export class Gatherer {
  readonly #reader: Reader;
  readonly #waiting: Waiting[] = [];
  #waitingKeys = 0;
  #flights = 0;
  #lastStart = 0;
  #scheduled = false;

  constructor(reader: Reader) {
    this.#reader = reader;
  }

  get(keys: readonly string[]): Promise<GetResult> {
    if (keys.length > KEYS_MAX) return this.#reader.get(keys);
    return new Promise((resolve, reject) => {
      this.#waiting.push({ keys, resolve, reject });
      this.#waitingKeys += keys.length;
      this.#schedule();
    });
  }

  /** At the end of the turn, so that its gets fly together. */
  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      while (this.#waiting.length > 0 && this.#mayStart()) void this.#fly(this.#take());
    });
  }

  #mayStart(): boolean {
    if (this.#flights === 0) return true;
    if (this.#flights === FLIGHTS_MAX) return false;
    return this.#waitingKeys >= WORTH_KEYS || performance.now() >= this.#lastStart + SLOW_MS;
  }

  /** As many as fit into one transaction, and their distinct keys. */
  #take(): Flight {
    const keys = new Set<string>();
    let count = 0;
    for (const waiting of this.#waiting) {
      if (keys.size + waiting.keys.length > KEYS_MAX) break;
      for (const key of waiting.keys) keys.add(key);
      this.#waitingKeys -= waiting.keys.length;
      count++;
    }
    return { group: this.#waiting.splice(0, count), keys: [...keys] };
  }

  async #fly({ group, keys }: Flight): Promise<void> {
    this.#flights++;
    this.#lastStart = performance.now();
    const slow = setTimeout(() => this.#schedule(), SLOW_MS + 1);
    try {
      const { entries, revision, stale } = await this.#reader.get(keys);
      const found = new Map(keys.map((key, at) => [key, entries[at]]));
      for (const { keys, resolve } of group)
        resolve({ revision, stale, entries: keys.map((key) => found.get(key)) });
    } catch (error) {
      for (const { reject } of group) reject(error);
    } finally {
      clearTimeout(slow);
      this.#flights--;
      this.#schedule();
    }
  }
}
