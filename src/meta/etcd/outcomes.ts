/**
 * Keys by which a commit's outcome is found out after its answer got lost. Each commit writes one that nobody else
 * uses meanwhile and expects it as it was: sent again, it cannot happen twice, and whoever finds the key written
 * knows that it has happened. They are used over and over, so there are no more than commits at once, and they
 * hang on a lease: etcd removes those of a dead process.
 */
import type { EtcdClient } from "./client.ts";
import { encode, type RawRevision, type Txn } from "./wire.ts";
import type { Space } from "./space.ts";

/** Far longer than any commit takes. */
const LEASE_SECONDS = 3600;

export const HAPPENED = encode("happened");
/** Nothing sent before can happen any more. */
const VOID = encode("void");

export class Outcome {
  readonly key: string;
  /** The revision that wrote the key, 0 before the first. */
  raw: RawRevision = 0;

  constructor(key: string) {
    this.key = key;
  }
}

export class Outcomes {
  readonly #client: EtcdClient;
  readonly #space: Space;
  readonly #free: Outcome[] = [];
  #lease: Promise<string> | undefined;
  #renewAt = 0;

  constructor(client: EtcdClient, space: Space) {
    this.#client = client;
    this.#space = space;
  }

  take(): Outcome {
    return this.#free.pop() ?? new Outcome(this.#space.outcome());
  }

  /** Only what nobody may still write. */
  give(outcome: Outcome): void {
    this.#free.push(outcome);
  }

  /** The lease for what is written now. A key moves to the newest lease whenever it is written. */
  async lease(ms: number): Promise<string> {
    if (performance.now() > this.#renewAt) this.#lease = undefined;
    this.#lease ??= this.#grant(ms);
    try {
      return await this.#lease;
    } catch (error) {
      this.#lease = undefined;
      throw error;
    }
  }

  /** Another lease for what is written from now on: etcd knows the last one no more. */
  forgetLease(): void {
    this.#lease = undefined;
  }

  /** The transaction after which what was sent before cannot happen any more, or shows that it has. */
  void({ key, raw }: Outcome, lease: string): Txn {
    return {
      compare: [{ key, result: "EQUAL", target: "MOD", mod_revision: String(raw) }],
      success: [{ request_put: { key, value: VOID, lease } }],
      failure: [{ request_range: { key } }],
    };
  }

  /** Removes all keys, when nothing is under way. */
  async close(ms: number): Promise<void> {
    const lease = this.#lease;
    if (lease === undefined) return;
    await this.#client.call("/v3/lease/revoke", { ID: await lease }, ms);
  }

  async #grant(ms: number): Promise<string> {
    this.#renewAt = performance.now() + (LEASE_SECONDS / 2) * 1000;
    const body = { TTL: String(LEASE_SECONDS) };
    const { ID } = await this.#client.call<{ ID: string }>("/v3/lease/grant", body, ms);
    return ID;
  }
}
