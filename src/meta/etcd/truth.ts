/**
 * Reads that are confirmed by a majority; when none can be had, what a member that is alive knows, marked stale.
 */
import type { EtcdClient } from "./client.ts";
import { Unanswered } from "./failures.ts";
import { ATTEMPT_MS, givenUp } from "./insist.ts";
import { Known } from "./known.ts";
import type { Operation, TxnAnswer } from "./wire.ts";

/** So long the truth is sought; with what follows, a read is over within 2 s. */
const TRUTH_MS = 1400;
const STALE_MS = 400;
/** So long after it was sought in vain, reads do not wait for it: one of them looks for all. */
const LOST_MS = 1000;
const PAUSE_MS = 50;

export interface TruthAnswer {
  readonly answer: TxnAnswer;
  readonly stale: boolean;
}

export class TruthReader {
  readonly known: Known = new Known();
  readonly #client: EtcdClient;
  #lostUntil = 0;
  #looking = false;

  constructor(client: EtcdClient) {
    this.#client = client;
  }

  /** All operations are ranges, at least one, and are read from one snapshot. */
  async read(operations: readonly Operation[]): Promise<TruthAnswer> {
    const started = performance.now();
    this.known.floor();
    if (started < this.#lostUntil) {
      void this.#look(operations);
      return this.#anyhow(operations, started);
    }
    for (;;) {
      const left = TRUTH_MS - (performance.now() - started);
      try {
        const answer = await this.confirmed(operations, Math.max(1, Math.min(ATTEMPT_MS, left)));
        return { answer, stale: false };
      } catch (error) {
        if (!(error instanceof Unanswered)) throw error;
      }
      if (performance.now() - started > TRUTH_MS - 2 * PAUSE_MS) break;
      await Bun.sleep(PAUSE_MS);
    }
    this.#lostUntil = performance.now() + LOST_MS;
    return this.#anyhow(operations, started);
  }

  /** One attempt at the truth. Throws `Unanswered` when it is not to be had now. */
  async confirmed(operations: readonly Operation[], ms: number): Promise<TxnAnswer> {
    const floor = this.known.floor();
    const answer = await this.#client.call<TxnAnswer>("/v3/kv/txn", { success: operations }, ms);
    this.known.check(floor, answer.header);
    this.found();
    return answer;
  }

  /** A majority has just answered. */
  found(): void {
    this.#lostUntil = 0;
  }

  async #look(operations: readonly Operation[]): Promise<void> {
    if (this.#looking) return;
    this.#looking = true;
    try {
      await this.confirmed(operations.slice(0, 1), ATTEMPT_MS);
    } catch {
      this.#lostUntil = performance.now() + LOST_MS;
    } finally {
      this.#looking = false;
    }
  }

  /** Whoever answers first. */
  async #anyhow(operations: readonly Operation[], started: number): Promise<TruthAnswer> {
    const success = operations.map((operation) =>
      "request_range" in operation
        ? { request_range: { ...operation.request_range, serializable: true } }
        : operation,
    );
    try {
      const answer = await this.#client.callAny<TxnAnswer>("/v3/kv/txn", { success }, STALE_MS);
      return { answer, stale: true };
    } catch (error) {
      throw error instanceof Unanswered ? givenUp(performance.now() - started, error) : error;
    }
  }
}
