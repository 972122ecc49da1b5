/** One connection to one server. It is replaced, never repaired. */
import { SQL } from "bun";
import { StoreUnavailable } from "../port.ts";
import type { Deadline } from "./deadline.ts";
import { ConnectionLost, connectError, NoPrimary, NoServer, statementError } from "./errors.ts";
import { type Host, nameOf, sqlOptions, type Target } from "./target.ts";

const VERSION_MIN = 13;
/** An unused connection is closed after this many seconds; the next use opens one. */
const IDLE_S = 120;
/** Milliseconds after which the server ends what nobody waits for any more, unless it is told less. */
const ORPHAN_MS = 10_000;

export class Session {
  readonly host: Host;
  readonly #target: Target;
  readonly #sql: SQL;
  #usable = true;

  private constructor(target: Target, host: Host) {
    this.#target = target;
    this.host = host;
    this.#sql = new SQL({
      ...sqlOptions(target, host),
      max: 1,
      idleTimeout: IDLE_S,
      onclose: () => (this.#usable = false),
    });
  }

  /** Connects and makes sure that the server is one that can be used, and no standby: those lag behind. */
  static async open(target: Target, host: Host, deadline: Deadline): Promise<Session> {
    const session = new Session(target, host);
    try {
      const late = () =>
        new NoServer(
          `the PostgreSQL server at ${nameOf(host)} does not answer: start it, or correct metadata.postgres.url`,
        );
      const [row] = await deadline.race(prepare(session.#sql), late);
      requireServer(row ?? [], target, host);
      return session;
    } catch (error) {
      session.close();
      throw connectError(error, target, host);
    }
  }

  /** False once the connection has ended. */
  get usable(): boolean {
    return this.#usable;
  }

  /** Runs one piece of work. After a lost connection or a deadline missed the session cannot be used again. */
  async use<T>(deadline: Deadline, work: (sql: SQL) => Promise<T>): Promise<T> {
    const late = () =>
      new ConnectionLost(`the PostgreSQL server at ${nameOf(this.host)} has not answered in time`);
    try {
      return await deadline.race(work(this.#sql), late);
    } catch (error) {
      const known = statementError(error, this.#target, this.host);
      if (known instanceof ConnectionLost || known instanceof NoServer) this.close();
      throw known;
    }
  }

  /** At once, whatever is under way. */
  close(): void {
    this.#usable = false;
    this.#sql.close({ timeout: 0 }).catch(() => {});
  }
}

/**
 * The plans must not depend on statistics from when the tables were small: every statement of ours is to go by
 * an index. `synchronous_commit = off` would answer before the commit is durable.
 */
async function prepare(sql: SQL): Promise<readonly unknown[][]> {
  return await sql`
    SELECT current_setting('server_version_num')::int, pg_is_in_recovery(),
      current_setting('server_encoding'),
      set_config('default_transaction_isolation', 'read committed', false),
      set_config('enable_seqscan', 'off', false), set_config('enable_hashjoin', 'off', false),
      set_config('enable_mergejoin', 'off', false), set_config('jit', 'off', false),
      CASE WHEN current_setting('synchronous_commit') = 'off'
        THEN set_config('synchronous_commit', 'on', false) END,
      CASE WHEN current_setting('statement_timeout') = '0'
        THEN set_config('statement_timeout', ${String(ORPHAN_MS)}::text, false) END`.values();
}

function requireServer(row: readonly unknown[], { database }: Target, host: Host): void {
  const [version, standby, encoding] = row;
  const server = `the PostgreSQL server at ${nameOf(host)}`;
  if (typeof version !== "number" || version < VERSION_MIN * 10_000)
    throw new StoreUnavailable(
      `${server} has version ${Math.floor(Number(version) / 10_000)}: Holdfast needs PostgreSQL ${VERSION_MIN} or later, upgrade it`,
    );
  if (encoding !== "UTF8")
    throw new StoreUnavailable(
      `the database "${database}" has encoding ${String(encoding)}: create one with ENCODING 'UTF8' TEMPLATE template0 and name it in metadata.postgres.url`,
    );
  if (standby === true)
    throw new NoPrimary(
      `${server} is a standby: name the primary in metadata.postgres.url, or all servers with commas between them`,
    );
}
