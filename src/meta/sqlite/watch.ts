/** Following the history: read what there is, then wait until somebody says that there is more. */
import { type Change, type MetaStore, StoreUnavailable } from "../port.ts";
import type { Reader } from "./reader.ts";

/** Commits read at once: bounds memory, since each may carry many values. */
const PAGE = 32;

/** Tells waiters that the store has passed a revision. */
export class Progress {
  #revision = 0;
  #ended = false;
  readonly #waiters = new Set<() => void>();

  raise(revision: number): void {
    if (revision > this.#revision) this.#revision = revision;
    this.#wake();
  }

  /** No further revision will be heard of. */
  end(): void {
    this.#ended = true;
    this.#wake();
  }

  /** Resolves once a revision after `seen` has been heard of, or `signal` aborts. */
  async passed(seen: number, signal: AbortSignal): Promise<void> {
    while (this.#revision <= seen && !signal.aborted) {
      this.requireRunning();
      await new Promise<void>((resolve) => {
        const wake = () => {
          this.#waiters.delete(wake);
          signal.removeEventListener("abort", wake);
          resolve();
        };
        this.#waiters.add(wake);
        signal.addEventListener("abort", wake);
      });
    }
  }

  requireRunning(): void {
    if (this.#ended) throw new StoreUnavailable("the metadata store was closed");
  }

  #wake(): void {
    for (const wake of this.#waiters) wake();
  }
}

/** `MetaStore.watch` over the local history. */
export async function* watchChanges(
  reader: Reader,
  progress: Progress,
  { prefix, after, signal }: Parameters<MetaStore["watch"]>[0],
): AsyncGenerator<Change, void, void> {
  let seen = after;
  while (!signal.aborted) {
    progress.requireRunning();
    const page = reader.changes(seen, prefix, PAGE);
    for (const commit of page) {
      seen = commit.revision;
      if (commit.changes.length === 0) continue;
      yield commit;
      if (signal.aborted) return;
    }
    if (page.length < PAGE) await progress.passed(seen, signal);
  }
}
