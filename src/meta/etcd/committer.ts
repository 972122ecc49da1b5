/** Commits: one transaction each, whose outcome is found out when its answer gets lost. */
import { checkCommit } from "../check-commit.ts";
import { type Commit, type CommitResult, type Revision, StoreUnavailable } from "../port.ts";
import type { EtcdClient } from "./client.ts";
import { LeaseGone, TooManyOperations, Unanswered } from "./failures.ts";
import { insist } from "./insist.ts";
import { HAPPENED, type Outcome, Outcomes } from "./outcomes.ts";
import type { Reader } from "./reader.ts";
import type { Space } from "./space.ts";
import type { TruthReader } from "./truth.ts";
import { type Compare, encode, type Kv, type Operation, type Txn, type TxnAnswer } from "./wire.ts";

/** etcd's default for `--max-txn-ops`, which bounds compares and operations, each by itself. */
export const OPERATIONS_MAX = 128;
/** Bun sends at most 256 requests at once, and reads and watches need some of them. */
const COMMITS_MAX = 128;

export class Committer {
  readonly #client: EtcdClient;
  readonly #reader: Reader;
  readonly #space: Space;
  readonly #truth: TruthReader;
  readonly #outcomes: Outcomes;
  readonly #queue: (() => void)[] = [];
  #running = 0;
  #idle: (() => void) | undefined;
  /** The greatest revision with an effect that is known here. */
  #revision: Revision;
  /** Whether the server takes a full commit and its guard: known once it has refused one. */
  #roomy = true;

  constructor(client: EtcdClient, truth: TruthReader, reader: Reader, space: Space) {
    this.#client = client;
    this.#truth = truth;
    this.#reader = reader;
    this.#space = space;
    this.#outcomes = new Outcomes(client, space);
    this.#revision = space.revision(space.origin);
  }

  async commit(commit: Commit): Promise<CommitResult> {
    checkCommit(commit, OPERATIONS_MAX);
    const { expect = [], put = [], delete: deleted = [] } = commit;
    if (put.length + deleted.length === 0) {
      const keys = await this.#reader.broken(expect);
      return keys.length === 0 ? { ok: true, revision: this.#revision } : { ok: false, keys };
    }
    if (this.#running === COMMITS_MAX)
      await new Promise<void>((resolve) => this.#queue.push(resolve));
    else this.#running++;
    try {
      const result = await this.#write(commit);
      this.#truth.found();
      return result;
    } finally {
      const next = this.#queue.shift();
      if (next !== undefined) next();
      else if (--this.#running === 0) this.#idle?.();
    }
  }

  /** Waits for commits under way. */
  async close(): Promise<void> {
    if (this.#running > 0) await new Promise<void>((resolve) => (this.#idle = resolve));
    // A courtesy: the lease ends by itself.
    await this.#outcomes.close(500).catch(() => undefined);
  }

  async #write(commit: Commit): Promise<CommitResult> {
    const full = Math.max((commit.expect?.length ?? 0) + 2, writes(commit) + 1) > OPERATIONS_MAX;
    if (full && !this.#roomy) return this.#bare(commit);
    const held = { outcome: this.#outcomes.take(), sent: false };
    try {
      const result = await insist(this.#client, (left) => this.#guarded(commit, held, left));
      this.#outcomes.give(held.outcome);
      return result;
    } catch (error) {
      if (!full || !(error instanceof TooManyOperations)) throw error;
      this.#roomy = false;
      return this.#bare(commit);
    }
  }

  /**
   * `held.sent` says that an earlier attempt is on its way, or has happened. Throws `Unanswered` when nothing is
   * known: to be repeated.
   */
  async #guarded(
    commit: Commit,
    held: { outcome: Outcome; sent: boolean },
    left: () => number,
  ): Promise<CommitResult> {
    const { outcome } = held;
    const lease = await this.#outcomes.lease(left());
    const before = held.sent;
    const answer = await this.#send(
      this.#guardedTxn(commit, outcome, lease),
      left(),
      (mayHappen) => {
        held.sent ||= mayHappen;
      },
    );
    if (answer.succeeded === true) {
      outcome.raw = Number(answer.header.revision);
      return this.#happened(answer, commit);
    }
    const [store, written, ...versions] = kvsOf(answer);
    this.#space.requireRecord(store?.value);
    if (written === undefined && outcome.raw > 0) {
      // Its lease has ended: this process stood still for long.
      if (before) throw new StoreUnavailable("a commit's outcome cannot be found out any more");
      held.outcome = this.#outcomes.take();
      return this.#guarded(commit, held, left);
    }
    const raw = Number(written?.mod_revision ?? 0);
    if (raw !== outcome.raw) {
      // Only what this commit has sent before may have written it since.
      if (raw < outcome.raw || !before) throw this.#outcomeWentBack(outcome, raw);
      outcome.raw = raw;
      if (written?.value === HAPPENED) return this.#ok(this.#space.revision(raw));
      // Made void by us, whose answer got lost: whatever was sent before is dead.
      held.sent = false;
      return this.#guarded(commit, held, left);
    }
    const keys = this.#brokenIn(commit, versions);
    if (!before) return { ok: false, keys };
    return (await this.#lateOutcome(outcome, lease, left)) ?? { ok: false, keys };
  }

  /** After this, no earlier attempt can happen; the result is that of one that has happened just now. */
  async #lateOutcome(
    outcome: Outcome,
    lease: string,
    left: () => number,
  ): Promise<CommitResult | undefined> {
    const answer = await this.#send(this.#outcomes.void(outcome, lease), left());
    if (answer.succeeded === true) {
      outcome.raw = Number(answer.header.revision);
      return undefined;
    }
    const written = kvsOf(answer)[0];
    if (written === undefined)
      throw new StoreUnavailable("a commit's outcome cannot be found out any more");
    const raw = Number(written.mod_revision);
    if (raw < outcome.raw) throw this.#outcomeWentBack(outcome, raw);
    outcome.raw = raw;
    return written.value === HAPPENED ? this.#ok(this.#space.revision(outcome.raw)) : undefined;
  }

  #outcomeWentBack(outcome: Outcome, raw: number): StoreUnavailable {
    return this.#truth.known.wentBack(`an outcome of revision ${raw} instead of ${outcome.raw}`);
  }

  /** A commit so large that there is no room for its guard: when its answer gets lost, so does its outcome. */
  #bare(commit: Commit): Promise<CommitResult> {
    const expect = commit.expect ?? [];
    const txn: Txn = {
      compare: this.#compares(commit),
      success: this.#operations(commit),
      failure: expect.map(({ key }) => this.#look(key)),
    };
    return insist(this.#client, async (left) => {
      try {
        const answer = await this.#send(txn, left());
        if (answer.succeeded === true) return this.#happened(answer, commit);
        return { ok: false, keys: this.#brokenIn(commit, kvsOf(answer)) };
      } catch (error) {
        if (!(error instanceof Unanswered) || !error.mayHappen) throw error;
        throw new StoreUnavailable(
          `the outcome of a commit of ${writes(commit)} keys is unknown: ${error.message}`,
          { cause: error },
        );
      }
    });
  }

  async #send(
    txn: Txn,
    ms: number,
    onUnanswered: (mayHappen: boolean) => void = () => undefined,
  ): Promise<TxnAnswer> {
    const { known } = this.#truth;
    const floor = known.floor();
    try {
      const answer = await this.#client.call<TxnAnswer>("/v3/kv/txn", txn, ms);
      known.check(floor, answer.header);
      return answer;
    } catch (error) {
      if (error instanceof LeaseGone) this.#outcomes.forgetLease();
      if (error instanceof Unanswered) onUnanswered(error.mayHappen);
      throw error;
    }
  }

  #guardedTxn(commit: Commit, { key, raw }: Outcome, lease: string): Txn {
    return {
      compare: [
        this.#space.sameStore,
        { key, result: "EQUAL", target: "MOD", mod_revision: String(raw) },
        ...this.#compares(commit),
      ],
      success: [...this.#operations(commit), { request_put: { key, value: HAPPENED, lease } }],
      failure: [
        this.#space.readRecord,
        { request_range: { key } },
        ...(commit.expect ?? []).map((one) => this.#look(one.key)),
      ],
    };
  }

  #compares({ expect = [] }: Commit): Compare[] {
    return expect.map(({ key, version }) => ({
      key: this.#space.record(key),
      result: "EQUAL",
      target: "MOD",
      mod_revision: String(this.#space.raw(version)),
    }));
  }

  #operations({ put = [], delete: deleted = [] }: Commit): Operation[] {
    return [
      ...deleted.map((key) => ({ request_delete_range: { key: this.#space.record(key) } })),
      ...put.map(({ key, value }) => ({
        request_put: { key: this.#space.record(key), value: encode(value) },
      })),
    ];
  }

  #look(key: string): Operation {
    return { request_range: { key: this.#space.record(key), keys_only: true } };
  }

  #brokenIn({ expect = [] }: Commit, versions: readonly (Kv | undefined)[]): string[] {
    return expect
      .filter(
        ({ version }, at) => Number(versions[at]?.mod_revision ?? 0) !== this.#space.raw(version),
      )
      .map(({ key }) => key);
  }

  /** What had no effect gets no revision of its own: no watch would ever show it. */
  #happened({ header, responses = [] }: TxnAnswer, { put = [] }: Commit): CommitResult {
    const effect =
      put.length > 0 ||
      responses.some((one) => Number(one.response_delete_range?.deleted ?? 0) > 0);
    return this.#ok(effect ? this.#space.revision(header.revision) : this.#revision);
  }

  #ok(revision: Revision): CommitResult {
    this.#revision = Math.max(this.#revision, revision);
    return { ok: true, revision };
  }
}

function kvsOf({ responses = [] }: TxnAnswer): readonly (Kv | undefined)[] {
  return responses.map((one) => one.response_range?.kvs?.[0]);
}

function writes({ put = [], delete: deleted = [] }: Commit): number {
  return put.length + deleted.length;
}
