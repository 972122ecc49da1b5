/** From PostgreSQL's errors to the port's, each with a sentence that names the remedy. */
import { SQL } from "bun";
import { StoreCorrupt, StoreFull, StoreUnavailable } from "../port.ts";
import { type Host, nameOf, type Target } from "./target.ts";

/** The connection ended or was given up before the answer: what was asked may or may not have happened. */
export class ConnectionLost extends StoreUnavailable {}

/** What became of a commit could not be found out either. */
export class Unknown extends StoreUnavailable {}

/** No server can be used yet; nothing was sent. Trying again later may help. */
export class NoServer extends StoreUnavailable {}

/** The statement was undone and may simply be repeated. */
export class TryAgain extends StoreUnavailable {}

/** This server is a standby: another is the primary. */
export class NoPrimary extends NoServer {}

/** The statement itself is at fault, not the state of the server. */
export class StatementRefused extends StoreUnavailable {}

/** Raised by our function: the server has fewer commits than were acknowledged before. */
export const SQLSTATE_BEHIND = "HF001";
/** Raised by our function: whether this group has been here before cannot be told any more. */
export const SQLSTATE_FORGOTTEN = "HF002";
/** Raised by our function: the store is another one than that of the sender. */
export const SQLSTATE_REPLACED = "HF003";

export class ServerBehind extends NoServer {}

/** The tables are there, but were made anew: nothing that is known of the store holds any more, for good. */
export class StoreReplaced extends StoreUnavailable {}

export class Forgotten extends StoreUnavailable {
  /** The store's revision then. */
  readonly revision: number;

  constructor(message: string, revision: number, options: ErrorOptions) {
    super(message, options);
    this.revision = revision;
  }
}

/** True when asking again at once would only wait again. */
export function isAway(error: unknown): error is StoreUnavailable {
  return error instanceof ConnectionLost || error instanceof NoServer || error instanceof Unknown;
}

/** The SQLSTATE that a server sent, or "" when the error is none of a server. */
export function sqlState(error: unknown): string {
  return error instanceof SQL.PostgresError ? (error.errno ?? "") : "";
}

/** An error met while a connection was opened and looked at. A plain `StoreUnavailable` will not heal by itself. */
export function connectError(error: unknown, target: Target, host: Host): unknown {
  if (!(error instanceof Error) || !("code" in error)) return error;
  const options = { cause: error };
  const server = `the PostgreSQL server at ${nameOf(host)}`;
  const { user, database } = target;
  const state = sqlState(error);
  if (["28P01", "28000"].includes(state))
    return new StoreUnavailable(
      `${server} does not let "${user}" in (${error.message}): correct user and password in metadata.postgres.url, or the server's pg_hba.conf`,
      options,
    );
  if (state === "3D000")
    return new StoreUnavailable(
      `${server} has no database "${database}": create it (CREATE DATABASE "${database}"), or correct metadata.postgres.url`,
      options,
    );
  if (state === "42501") return rightsError(error, target);
  if (state === "53300")
    return new NoServer(
      `${server} has no connection left: raise its max_connections, or let fewer nodes and workers use metadata.postgres.url`,
      options,
    );
  // The code is Bun's, or that of the TLS library.
  if (/TLS|SSL|CERT|VERIFY|SIGNED/.test(String(error.code)))
    return new StoreUnavailable(
      `${server} and this node do not agree on TLS (${error.message}): correct metadata.postgres.tls or sslmode in metadata.postgres.url`,
      options,
    );
  return new NoServer(
    `${server} cannot be reached (${error.message}): start it, or correct metadata.postgres.url`,
    options,
  );
}

/** The port's error for what a statement on an open connection threw. */
export function statementError(error: unknown, target: Target, host: Host): unknown {
  if (!(error instanceof SQL.PostgresError)) return error;
  const options = { cause: error };
  const server = `the PostgreSQL server at ${nameOf(host)}`;
  const state = sqlState(error);
  // A server that ends the session may have committed before.
  if (state === "" || error.severity === "FATAL" || error.severity === "PANIC")
    return new ConnectionLost(`the connection to ${server} was lost (${error.message})`, options);
  if (["40001", "40P01", "55P03"].includes(state))
    return new TryAgain(
      `${server} could not order concurrent commits (${error.message}): repeat the request`,
      options,
    );
  if (state === "25006")
    return new StoreUnavailable(
      `${server} takes no writes: switch default_transaction_read_only off for "${target.user}" and the database "${target.database}", or name the primary in metadata.postgres.url`,
      options,
    );
  if (["53100", "58030"].includes(state) && /space|quota/i.test(error.message))
    return new StoreFull(`${server} has no room left on its disk: make room there`, options);
  if (state === "57014")
    return new StoreUnavailable(
      `${server} gave up a statement (${error.message}): raise statement_timeout for "${target.user}", or find what keeps the server busy`,
      options,
    );
  if (state === "42501") return rightsError(error, target);
  if (["42P01", "3F000", "42883"].includes(state))
    return new StoreUnavailable(
      `the database "${target.database}" has no Holdfast tables any more (${error.message}): restore it, or run holdfast rebuild`,
      options,
    );
  if (["XX001", "XX002"].includes(state))
    return new StoreCorrupt(`the metadata database is damaged: ${error.message}`, options);
  if (state === SQLSTATE_BEHIND) return new ServerBehind(error.message, options);
  if (state === SQLSTATE_REPLACED) return storeReplaced(options);
  if (state === SQLSTATE_FORGOTTEN)
    return new Forgotten(error.message, Number(error.hint), options);
  const message = `${server} refused a statement (${state}): ${error.message}`;
  return ["22", "23", "54"].includes(state.slice(0, 2))
    ? new StatementRefused(message, options)
    : new StoreUnavailable(message, options);
}

/** A server that was left behind by a failover, or was set back to an older backup. */
export function serverBehind(known: number, shown: number, host: Host): ServerBehind {
  return new ServerBehind(
    `the PostgreSQL server at ${nameOf(host)} shows revision ${shown}, but ${known} has been committed: name the current primary in metadata.postgres.url, or run holdfast rebuild and restart all nodes if a backup was restored`,
  );
}

export function tablesEmptied(): StoreCorrupt {
  return new StoreCorrupt(
    "the rows of Holdfast's tables were deleted: drop them (DROP SCHEMA holdfast CASCADE) and run holdfast rebuild",
  );
}

export function storeReplaced(options?: ErrorOptions): StoreReplaced {
  return new StoreReplaced(
    "the store in the metadata database is another one than when this program started, as after holdfast rebuild (metadata.postgres.url): restart",
    options,
  );
}

function rightsError(error: Error, { user, database }: Target): StoreUnavailable {
  return new StoreUnavailable(
    `"${user}" may not do what Holdfast needs in the database "${database}" (${error.message}): run ALTER DATABASE "${database}" OWNER TO "${user}", or name in metadata.postgres.url the user that made the schema holdfast`,
    { cause: error },
  );
}
