/**
 * Several commits in one transaction and one round trip; each succeeds or conflicts by itself. When the answer is
 * lost its outcome is found out: by the group's token, which only one of two can ever write to the database, the
 * group itself or we, giving it up.
 */
import type { SQL } from "bun";
import { type Commit, type CommitResult, StoreCorrupt, StoreUnavailable } from "../port.ts";
import { OUTCOMES_KEPT } from "./commit-function.ts";
import { Deadline } from "./deadline.ts";
import {
  ConnectionLost,
  Forgotten,
  isAway,
  NoServer,
  StatementRefused,
  storeReplaced,
  TryAgain,
  Unknown,
} from "./errors.ts";
import type { GroupResults } from "./commit-queue.ts";
import type { Known } from "./known.ts";
import type { Sessions } from "./sessions.ts";

const COMMIT_MS = 2000;
const FIND_OUT_MS = 2000;
const AGAIN_MAX = 5;
const PAUSE_MS = 50;

/** A revision, or the keys that were not as expected. */
type Outcome = number | readonly string[];

export class GroupCommitter {
  readonly #sessions: Sessions;
  readonly #known: Known;
  readonly #historyMax: number;

  constructor(sessions: Sessions, known: Known, historyMax: number) {
    this.#sessions = sessions;
    this.#known = known;
    this.#historyMax = historyMax;
  }

  /** Throws `StoreUnavailable` when nothing has happened or the outcome is unknown. */
  async run(commits: readonly Commit[]): Promise<GroupResults> {
    try {
      const outcomes = await this.#settle(JSON.stringify(commits.map(packed)));
      const results = outcomes.map(resultOf);
      for (const result of results) if (result.ok) this.#known.raise(result.revision);
      return results;
    } catch (error) {
      if (!(error instanceof StatementRefused)) throw error;
      if (commits.length === 1) return [error];
    }
    // One of them is at fault: the others do not suffer for it.
    const results: (CommitResult | Error)[] = [];
    for (const commit of commits) {
      const last = results.at(-1);
      // A server that went away meanwhile is not waited for again and again.
      results.push(isAway(last) ? last : await this.#alone(commit));
    }
    return results;
  }

  /** A later commit of a group may fail when earlier ones have happened. */
  async #alone(commit: Commit): Promise<CommitResult | Error> {
    try {
      const [result] = await this.run([commit]);
      return result ?? new StoreUnavailable("a commit got no answer");
    } catch (error) {
      return error instanceof Error ? error : new StoreUnavailable(String(error));
    }
  }

  async #settle(commits: string): Promise<readonly Outcome[]> {
    const deadline = new Deadline(COMMIT_MS);
    for (let again = 0; ;) {
      const token = Bun.randomUUIDv7();
      const known = this.#known.revision;
      try {
        return await this.#sessions.once(deadline, (sql) => this.#send(sql, token, known, commits));
      } catch (error) {
        if (error instanceof ConnectionLost) {
          const found = await this.#findOut(token, known);
          if (found !== undefined) return found;
        } else if (error instanceof Forgotten) {
          this.#known.raise(error.revision);
        } else if (error instanceof TryAgain) {
          if (again++ === AGAIN_MAX) throw error;
        } else if (!(error instanceof NoServer)) {
          throw error;
        }
        if (deadline.left <= PAUSE_MS) throw notCommitted(error);
        if (error instanceof NoServer) await Bun.sleep(PAUSE_MS);
      }
    }
  }

  async #send(
    sql: SQL,
    token: string,
    known: number,
    commits: string,
  ): Promise<readonly Outcome[]> {
    const [row] = await sql`
      SELECT holdfast.commit_group(${this.#known.identity}::text::uuid, ${token}::text::uuid, ${String(known)}::text::bigint,
        ${String(this.#historyMax)}::text::bigint, ${commits}::text::jsonb)`.values();
    return row?.[0] as readonly Outcome[];
  }

  /**
   * What became of a group, or `undefined` when it has not happened and never will. Our own row waits for a
   * transaction of the group that is still under way; writing to a row that is there makes this wait, as the group
   * would have, until the group is as durable as the server makes things.
   */
  async #findOut(token: string, known: number): Promise<readonly Outcome[] | undefined> {
    const deadline = new Deadline(FIND_OUT_MS);
    const row = await this.#sessions
      .run(deadline, async (sql) => {
        const [found] = await sql`
          INSERT INTO holdfast.outcomes AS o (token, revision, results)
            SELECT ${token}::text::uuid, s.revision, NULL FROM holdfast.state s
            WHERE s.identity = ${this.#known.identity}::text::uuid
          ON CONFLICT (token) DO UPDATE SET revision = o.revision
          RETURNING o.results, o.revision`.values();
        return found;
      })
      .catch((error: unknown) => {
        throw error instanceof StoreCorrupt
          ? error
          : new Unknown(
              `whether a commit has happened could not be found out: ${error instanceof Error ? error.message : String(error)}`,
              { cause: error },
            );
      });
    if (row === undefined) throw storeReplaced();
    const [results, revision] = row;
    if (results !== null && results !== undefined) return results as readonly Outcome[];
    if (Number(revision) - known > OUTCOMES_KEPT || Number(revision) < known)
      throw new Unknown("whether a commit has happened cannot be found out any more");
    return undefined;
  }
}

function packed({ expect = [], put = [], delete: deleted = [] }: Commit): object {
  return {
    ...(expect.length > 0 ? { e: expect.map(({ key, version }) => [key, version]) } : {}),
    ...(put.length > 0 ? { p: put.map(({ key, value }) => [key, value]) } : {}),
    ...(deleted.length > 0 ? { d: deleted } : {}),
  };
}

function resultOf(outcome: Outcome): CommitResult {
  return typeof outcome === "number"
    ? { ok: true, revision: outcome }
    : { ok: false, keys: outcome };
}

function notCommitted(error: unknown): unknown {
  return error instanceof ConnectionLost
    ? new StoreUnavailable(`${error.message}; nothing was committed`, { cause: error })
    : error;
}
