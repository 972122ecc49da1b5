/**
 * While the truth cannot be reached, what a process has read of immutable things goes on being shown, marked
 * stale. Mutable facts are never kept.
 */
import { Lru } from "../base/lru.ts";
import { delegate } from "./delegate.ts";
import {
  type Entry,
  type GetResult,
  type MetaStore,
  type Revision,
  StoreUnavailable,
} from "./port.ts";

const KEPT_BYTES = 8 * 1024 * 1024;
/** Bytes of memory that an entry costs beside its texts, about. */
const ENTRY_BYTES = 200;
/** So long after a failure the store is not asked again for what is known. */
const RETRY_MS = 1000;

interface Sighting {
  /** `undefined`: the key was seen to be absent. */
  readonly entry: Entry | undefined;
  readonly revision: Revision;
}

/** `keeps` says which keys may be shown stale. */
export function lastKnown(store: MetaStore, keeps: (key: string) => boolean): MetaStore {
  const memory = new LastKnown(store, keeps);
  return delegate(store, { get: (keys) => memory.get(keys) });
}

class LastKnown {
  readonly #store: MetaStore;
  readonly #keeps: (key: string) => boolean;
  readonly #kept = new Lru<Sighting>(KEPT_BYTES);
  #downUntil = 0;

  constructor(store: MetaStore, keeps: (key: string) => boolean) {
    this.#store = store;
    this.#keeps = keeps;
  }

  async get(keys: readonly string[]): Promise<GetResult> {
    if (performance.now() < this.#downUntil) {
      const known = this.#known(keys);
      if (known !== undefined) return known;
    }
    try {
      const found = await this.#store.get(keys);
      if (!found.stale) this.#downUntil = 0;
      this.#keep(keys, found);
      return found;
    } catch (error) {
      if (!(error instanceof StoreUnavailable)) throw error;
      this.#downUntil = performance.now() + RETRY_MS;
      const known = this.#known(keys);
      if (known === undefined) throw error;
      return known;
    }
  }

  #keep(keys: readonly string[], { entries, revision, stale }: GetResult): void {
    if (stale) return;
    for (const [i, key] of keys.entries()) {
      if (!this.#keeps(key)) continue;
      const entry = entries[i];
      // An answer may be overtaken by a later one.
      if ((this.#kept.get(key)?.revision ?? 0) > revision) continue;
      const weight = ENTRY_BYTES + key.length + (entry?.value.length ?? 0);
      this.#kept.set(key, { entry, revision }, weight);
    }
  }

  /** The keys as they were last seen, if every one of them was. */
  #known(keys: readonly string[]): GetResult | undefined {
    const entries: Entry[] = [];
    let revision = Infinity;
    for (const key of keys) {
      const kept = this.#kept.get(key);
      if (kept?.entry === undefined) return undefined;
      entries.push(kept.entry);
      revision = Math.min(revision, kept.revision);
    }
    return entries.length === 0 ? undefined : { entries, revision, stale: true };
  }
}
