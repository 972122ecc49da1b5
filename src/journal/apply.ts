/** Writing what the journal says into a store that nobody uses yet, many keys a commit. */
import { type Commit, type MetaStore, StoreUnavailable } from "../meta/port.ts";

/** Characters of a commit: a request to etcd may have 1.5 MiB. */
const CHARACTERS_MAX = 400_000;
const OPERATIONS_MAX = 1000;
/** Milliseconds that a store may be away, as one that elects a leader is. */
const PATIENCE_MS = 30_000;
const RETRY_MS = 500;

export class Applier {
  readonly #store: MetaStore;
  readonly #operationsMax: number;
  readonly #flights: number;
  readonly #flying = new Set<Promise<void>>();
  #batch = new Map<string, string | undefined>();
  #characters = 0;

  /** `flights` commits may be under way at once: more than one only where no key comes twice. */
  constructor(store: MetaStore, flights: number) {
    this.#store = store;
    this.#operationsMax = Math.min(store.operationsMax, OPERATIONS_MAX);
    this.#flights = flights;
  }

  /** The key has this value from now on; `undefined` removes it. */
  async set(key: string, value: string | undefined): Promise<void> {
    this.#batch.set(key, value);
    this.#characters += key.length + (value?.length ?? 0);
    if (this.#batch.size >= this.#operationsMax || this.#characters >= CHARACTERS_MAX)
      await this.#launch();
  }

  /** Resolves once everything is in the store. */
  async finish(): Promise<void> {
    await this.#launch();
    while (this.#flying.size > 0) await Promise.race(this.#flying);
  }

  async #launch(): Promise<void> {
    while (this.#flying.size >= this.#flights) await Promise.race(this.#flying);
    if (this.#batch.size === 0) return;
    const put: { key: string; value: string }[] = [];
    const deleted: string[] = [];
    for (const [key, value] of this.#batch)
      if (value === undefined) deleted.push(key);
      else put.push({ key, value });
    this.#batch = new Map();
    this.#characters = 0;
    const flight = this.#commit({ put, delete: deleted }).then(() => {
      this.#flying.delete(flight);
    });
    // Its failure shows when somebody waits for it.
    flight.catch(() => {});
    this.#flying.add(flight);
  }

  /** Whatever came of it before, the same again makes the same: nobody else writes. */
  async #commit(commit: Commit): Promise<void> {
    const deadline = performance.now() + PATIENCE_MS;
    for (;;) {
      try {
        await this.#store.commit(commit);
        return;
      } catch (error) {
        if (!(error instanceof StoreUnavailable) || performance.now() > deadline) throw error;
        await Bun.sleep(RETRY_MS);
      }
    }
  }
}
