/** Hears of new revisions as they are committed, wherever. Only a hint: what it misses is found by asking. */
import { SQL } from "bun";
import type { Servers } from "./sessions.ts";
import type { Progress } from "../progress.ts";
import { sqlOptions } from "./target.ts";

export class Listener {
  readonly #servers: Servers;
  readonly #progress: Progress;
  #sql: SQL | undefined;
  #users = 0;

  constructor(servers: Servers, progress: Progress) {
    this.#servers = servers;
    this.#progress = progress;
  }

  /** Listens until everybody who started has stopped. */
  start(): void {
    this.#users++;
    this.ensure();
  }

  stop(): void {
    if (--this.#users === 0) this.#close();
  }

  /** For when it is deaf without knowing: listens anew, to the server in use now. */
  restart(): void {
    this.#close();
    this.ensure();
  }

  /** Listens again after the connection was lost. Bun would do so by itself, but only to the same server, and loudly. */
  ensure(): void {
    const host = this.#servers.favourite;
    if (this.#sql !== undefined || host === undefined || this.#users === 0) return;
    const sql: SQL = new SQL({
      ...sqlOptions(this.#servers.target, host),
      max: 1,
      onclose: () => {
        if (this.#sql !== sql) return;
        this.#close();
        this.#progress.nudge();
      },
    });
    this.#sql = sql;
    sql
      .listen(
        "holdfast",
        (text) => this.#progress.raise(Number(text)),
        // What was committed before it could hear.
        () => this.#progress.nudge(),
      )
      .catch(() => {});
  }

  close(): void {
    this.#users = 0;
    this.#close();
  }

  #close(): void {
    this.#sql?.close({ timeout: 0 }).catch(() => {});
    this.#sql = undefined;
  }
}
