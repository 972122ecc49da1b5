/** How far the store has come, as far as this process has heard. */
import { StoreUnavailable } from "./port.ts";

/** Tells waiters that the store has passed a revision. */
export class Progress {
  #revision = 0;
  #ended = false;
  readonly #waiters = new Set<() => void>();

  get revision(): number {
    return this.#revision;
  }

  raise(revision: number): void {
    if (revision <= this.#revision) return;
    this.#revision = revision;
    this.nudge();
  }

  /** No further revision will be heard of. */
  end(): void {
    this.#ended = true;
    this.nudge();
  }

  /** Makes everybody who waits look again. */
  nudge(): void {
    for (const wake of this.#waiters) wake();
  }

  /** Resolves once there may be more than `seen`, `signal` aborts, or `ms` have passed: false only then. */
  async passed(seen: number, signal: AbortSignal, ms = Infinity): Promise<boolean> {
    if (this.#revision > seen || signal.aborted || this.#ended) return true;
    return new Promise<boolean>((resolve) => {
      const end = (told: boolean) => {
        clearTimeout(timer);
        this.#waiters.delete(wake);
        signal.removeEventListener("abort", wake);
        resolve(told);
      };
      const wake = () => end(true);
      const timer = ms === Infinity ? undefined : setTimeout(() => end(false), ms);
      this.#waiters.add(wake);
      signal.addEventListener("abort", wake);
    });
  }

  requireRunning(): void {
    if (this.#ended) throw new StoreUnavailable("the metadata store was closed");
  }
}
