/** Whether the journal can be written and the store followed, since when not, and why. */
import { describe, type Logger } from "../base/log.ts";

/** Milliseconds after which a write without an answer counts as trouble, and is given up. */
const SLOW_MS = 4000;
const GIVEN_UP_MS = 15_000;
const RETRY_MIN_MS = 100;
const RETRY_MAX_MS = 1000;

interface Failing {
  /** `performance.now()` */
  readonly since: number;
  readonly reason: string;
}

export class Trouble {
  readonly #log: Logger;
  #write: Failing | undefined;
  #follow: Failing | undefined;
  #failures = 0;
  #retryAt = 0;
  /** `performance.now()` when the write that is under way began. */
  #began: number | undefined;

  constructor(log: Logger) {
    this.#log = log;
  }

  /** What the trouble is, if it has lasted for `ms`. */
  since(ms: number): string | undefined {
    const now = performance.now();
    const slow =
      this.#began !== undefined && now - this.#began > SLOW_MS
        ? { since: this.#began + SLOW_MS, reason: "the journal's store does not answer" }
        : undefined;
    return [this.#write, slow, this.#follow].find((one) => one && now - one.since >= ms)?.reason;
  }

  /** Milliseconds until a failed write should be tried again. */
  retryIn(): number {
    return Math.max(0, this.#retryAt - performance.now());
  }

  /** Waits for a write, though not for ever. */
  async watched<T>(write: Promise<T>): Promise<T> {
    this.#began = performance.now();
    const late = Promise.withResolvers<never>();
    const timer = setTimeout(
      () => late.reject(new Error(`no answer within ${GIVEN_UP_MS / 1000} s`)),
      GIVEN_UP_MS,
    );
    try {
      return await Promise.race([write, late.promise]);
    } finally {
      clearTimeout(timer);
      this.#began = undefined;
    }
  }

  notWriting(error: unknown): void {
    const now = performance.now();
    if (this.#write === undefined)
      this.#log.error("the journal cannot be written", { error: describe(error) });
    const reason = `the journal cannot be written: ${messageOf(error)}`;
    this.#write = { since: this.#write?.since ?? now, reason };
    this.#retryAt = now + Math.min(RETRY_MAX_MS, RETRY_MIN_MS * 2 ** this.#failures++);
  }

  writing(): void {
    if (this.#write !== undefined) this.#log.info("the journal is written again");
    this.#write = undefined;
    this.#failures = 0;
    this.#retryAt = 0;
  }

  notFollowing(error: unknown): void {
    if (this.#follow === undefined)
      this.#log.warn("the journal cannot follow the store", { error: describe(error) });
    const reason = `the journal cannot follow the store: ${messageOf(error)}`;
    this.#follow = { since: this.#follow?.since ?? performance.now(), reason };
  }

  following(): void {
    this.#follow = undefined;
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
