/** Entries read at one revision; none is used at another. */
import type { Entry, GetResult } from "../port.ts";

/** Entries kept; some hundred bytes each. */
const ENTRIES_MAX = 4096;

export class EntryCache {
  readonly #entries = new Map<string, Entry | undefined>();
  #revision = -1;

  /** All keys as they were at this revision, or `undefined` when one has to be read. */
  get(keys: readonly string[], revision: number): GetResult | undefined {
    if (revision !== this.#revision) return undefined;
    const entries: (Entry | undefined)[] = [];
    for (const key of keys) {
      const entry = this.#entries.get(key);
      if (entry === undefined && !this.#entries.has(key)) return undefined;
      entries.push(entry);
    }
    return { revision, stale: false, entries };
  }

  keep(keys: readonly string[], { revision, entries }: GetResult): void {
    if (revision !== this.#revision || this.#entries.size + keys.length > ENTRIES_MAX) {
      this.#entries.clear();
      this.#revision = revision;
    }
    if (keys.length > ENTRIES_MAX) return;
    for (const [i, key] of keys.entries()) this.#entries.set(key, entries[i]);
  }
}
