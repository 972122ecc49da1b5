/** Gets that arrive while one is under way share the next: a storm of them costs a few round trips. */
import type { Entry, GetResult } from "../port.ts";
import { isAway } from "./errors.ts";

/** Keys in one round trip; a get of more goes alone. */
const KEYS_MAX = 4096;

interface Found {
  readonly revision: number;
  readonly entries: ReadonlyMap<string, Entry>;
}

interface Waiting {
  readonly keys: readonly string[];
  readonly resolve: (result: GetResult) => void;
  readonly reject: (error: unknown) => void;
}

export class GetQueue {
  readonly #read: (keys: readonly string[]) => Promise<Found>;
  readonly #waiting: Waiting[] = [];
  #running = false;

  /** `read` shows all the keys in one snapshot taken after it was called. */
  constructor(read: (keys: readonly string[]) => Promise<Found>) {
    this.#read = read;
  }

  add(keys: readonly string[]): Promise<GetResult> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ keys, resolve, reject });
      if (!this.#running) void this.#work();
    });
  }

  async #work(): Promise<void> {
    this.#running = true;
    // Whatever the same turn of the event loop asks goes along.
    await Promise.resolve();
    while (this.#waiting.length > 0) {
      const group = this.#takeGroup();
      try {
        const { revision, entries } = await this.#read([
          ...new Set(group.flatMap(({ keys }) => keys)),
        ]);
        for (const { keys, resolve } of group)
          resolve({ revision, stale: false, entries: keys.map((key) => entries.get(key)) });
      } catch (error) {
        const failed = isAway(error) ? [...group, ...this.#waiting.splice(0)] : group;
        for (const { reject } of failed) reject(error);
      }
    }
    this.#running = false;
  }

  #takeGroup(): Waiting[] {
    let total = 0;
    let count = 0;
    for (const { keys } of this.#waiting) {
      total += keys.length;
      if (count > 0 && total > KEYS_MAX) break;
      count++;
    }
    return this.#waiting.splice(0, count);
  }
}
