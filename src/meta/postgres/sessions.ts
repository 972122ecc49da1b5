/** A few connections to whichever of the named servers takes writes. */
import type { SQL } from "bun";
import { StoreUnavailable } from "../port.ts";
import { Deadline } from "./deadline.ts";
import { ConnectionLost, NoPrimary, NoServer, ServerBehind, TryAgain } from "./errors.ts";
import { Session } from "./session.ts";
import type { Host, Target } from "./target.ts";

/** How long the server that was right until now is asked before all are. */
const FAVOURITE_MS = 500;
const ATTEMPT_MS = 1000;
const PAUSE_MS = 50;
/** Times that a statement is repeated which the server undid because of others. */
const AGAIN_MAX = 5;

/** What all connections of a process know together. */
export class Servers {
  readonly target: Target;
  #favourite: Host | undefined;

  constructor(target: Target) {
    this.target = target;
  }

  /** The server in use. */
  get favourite(): Host | undefined {
    return this.#favourite;
  }

  /** A connection to the server that takes writes; keeps trying until the deadline where that may help. */
  async connect(deadline: Deadline): Promise<Session> {
    let telling: unknown;
    for (;;) {
      try {
        const session = await this.#search(deadline);
        this.#favourite = session.host;
        return session;
      } catch (error) {
        // A try that the deadline cut short says less than the one before.
        if (telling === undefined || !deadline.passed) telling = error;
        if (!(error instanceof NoServer) || deadline.left <= PAUSE_MS) throw telling;
        await Bun.sleep(PAUSE_MS);
      }
    }
  }

  /** Something is wrong with this server: another is asked first. */
  avoid(host: Host): void {
    const { hosts } = this.target;
    this.#favourite = hosts[(hosts.indexOf(host) + 1) % hosts.length];
  }

  async #search(deadline: Deadline): Promise<Session> {
    const { hosts } = this.target;
    const favourite = this.#favourite;
    if (favourite !== undefined && hosts.length > 1) {
      try {
        const soon = new Deadline(Math.min(FAVOURITE_MS, deadline.left));
        return await Session.open(this.target, favourite, soon);
      } catch {
        this.#favourite = undefined;
      }
    }
    const tries = hosts.map((host) => Session.open(this.target, host, deadline));
    try {
      const first = await Promise.any(tries);
      for (const other of tries)
        other.then((session) => session !== first && session.close()).catch(() => {});
      return first;
    } catch (error) {
      throw mostTelling((error as AggregateError).errors);
    }
  }
}

/** A server that answers and has another complaint than being no primary says more than one that is away. */
function mostTelling(errors: readonly unknown[]): unknown {
  return (
    errors.find((error) => !(error instanceof NoServer)) ??
    errors.find((error) => error instanceof NoPrimary) ??
    errors[0]
  );
}

export class Sessions {
  readonly #servers: Servers;
  readonly #max: number;
  readonly #idle: Session[] = [];
  readonly #busy = new Set<Session>();
  readonly #waiting = new Set<() => void>();
  #taken = 0;
  #closed = false;

  constructor(servers: Servers, max: number) {
    this.#servers = servers;
    this.#max = max;
  }

  /**
   * Runs `work` once, on a connection that nobody else uses meanwhile. Throws `ConnectionLost` when the outcome
   * is unknown; after every other error nothing has happened.
   */
  async once<T>(deadline: Deadline, work: (sql: SQL, host: Host) => Promise<T>): Promise<T> {
    await this.#turn(deadline);
    try {
      const session = this.#usable() ?? (await this.#servers.connect(deadline));
      if (this.#closed) {
        session.close();
        throw closed();
      }
      this.#busy.add(session);
      try {
        return await session.use(deadline, (sql) => work(sql, session.host));
      } catch (error) {
        if (error instanceof ServerBehind || error instanceof ConnectionLost)
          this.#servers.avoid(session.host);
        throw error;
      } finally {
        this.#busy.delete(session);
        if (session.usable) this.#idle.push(session);
      }
    } finally {
      this.#pass();
    }
  }

  /** For work that may be repeated: reads. Goes on over lost connections until the deadline. */
  async run<T>(deadline: Deadline, work: (sql: SQL, host: Host) => Promise<T>): Promise<T> {
    for (let again = 0; ;) {
      try {
        return await this.once(this.#attempt(deadline), work);
      } catch (error) {
        const lost = error instanceof ConnectionLost || error instanceof NoServer;
        if (!lost && !(error instanceof TryAgain && again++ < AGAIN_MAX)) throw error;
        if (this.#closed) throw closed();
        if (deadline.left <= PAUSE_MS) throw error;
        if (lost) await Bun.sleep(PAUSE_MS);
      }
    }
  }

  close(): void {
    this.#closed = true;
    for (const session of [...this.#idle, ...this.#busy]) session.close();
    if (this.#waiting.size > 0) {
      this.#taken++;
      this.#pass();
    }
  }

  /** Where there is another server to ask, one that stands still may not use up all the time. */
  #attempt(deadline: Deadline): Deadline {
    return this.#servers.target.hosts.length > 1
      ? new Deadline(Math.min(ATTEMPT_MS, deadline.left))
      : deadline;
  }

  #usable(): Session | undefined {
    for (;;) {
      const session = this.#idle.pop();
      if (session === undefined || session.usable) return session;
    }
  }

  /** Resolves when fewer than `max` are at work; first come, first served. */
  async #turn(deadline: Deadline): Promise<void> {
    if (this.#closed) throw closed();
    if (this.#taken < this.#max) {
      this.#taken++;
      return;
    }
    let wake = () => {};
    const handed = new Promise<void>((resolve) => (wake = resolve));
    this.#waiting.add(wake);
    await deadline.race(handed, () => {
      this.#waiting.delete(wake);
      return new NoServer("the PostgreSQL server does not keep up with what is asked of it");
    });
    if (!this.#closed) return;
    this.#pass();
    throw closed();
  }

  /** Gives a turn to whoever waits longest, or back. */
  #pass(): void {
    const [next] = this.#waiting;
    if (next === undefined) {
      this.#taken--;
      return;
    }
    this.#waiting.delete(next);
    next();
  }
}

export function closed(): StoreUnavailable {
  return new StoreUnavailable("the metadata store was closed");
}
