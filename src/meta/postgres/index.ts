/** What app/ needs of this engine. */
import { type LayoutOptions, prepareLayout } from "./layout.ts";
import { Servers } from "./sessions.ts";
import { PostgresStore } from "./store.ts";
import type { Target } from "./target.ts";

export interface PostgresOptions extends Target, LayoutOptions {
  /** Most connections of this process; default 3, at least 2 are used. */
  readonly connections?: number;
  /** Number of latest commits that a watch can start from; default 10,000. */
  readonly historyMax?: number;
}

/**
 * Opens the store; creates or upgrades its tables first, one process at a time. Every process may read and commit.
 * Throws `StoreUnavailable` with a sentence that names the remedy.
 *
 * Where several hosts are named, those that may take over must be synchronous standbys. One that has lost commits is
 * refused by whoever has seen them, until it has made as many others in their place: the identity of the store is the
 * same, and its timeline says only that there was a failover, not whether anything was lost.
 */
export async function openPostgres(options: PostgresOptions): Promise<PostgresStore> {
  const servers = new Servers(options);
  const state = await prepareLayout(servers, options);
  const { connections = 3, historyMax = 10_000 } = options;
  return new PostgresStore(servers, state, { connections, historyMax });
}

export type { PostgresStore } from "./store.ts";
