/**
 * The engine's own tables and how older ones become today's. `PRAGMA user_version` counts the steps that a
 * database has been through; what the keys and values mean is not this file's business.
 *
 * kv       the records; `version` is the revision that last put them
 * changes  what each of the latest commits did, as JSON `[[key, value | null], …]`: what a watch reads
 * store    one row: the latest revision (also when its records are gone), and the latest one that has been
 *          trimmed from `changes`
 */
import type { Database } from "bun:sqlite";
import { StoreCorrupt, StoreUnavailable } from "../port.ts";

/** SQL statements, run in one transaction. Never edited once released: a later layout is a further step. */
export type Step = readonly string[];

export const STEPS: readonly Step[] = [
  [
    "CREATE TABLE kv (key TEXT PRIMARY KEY, value TEXT NOT NULL, version INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE changes (revision INTEGER PRIMARY KEY, entries TEXT NOT NULL)",
    "CREATE TABLE store (id INTEGER PRIMARY KEY CHECK (id = 1), revision INTEGER NOT NULL, compacted INTEGER NOT NULL)",
    "INSERT INTO store (id, revision, compacted) VALUES (1, 0, 0)",
  ],
];

/** Number of steps the database has been through; 0 for an empty file. */
export function layoutOf(database: Database): number {
  const version = firstRow(database, "PRAGMA user_version")?.[0];
  if (typeof version !== "number") throw new StoreCorrupt("the metadata database has no version");
  return version;
}

/** Brings an older database to the layout after all `steps`. A step happens wholly or not at all. */
export function migrate(database: Database, steps: readonly Step[]): void {
  refuseNewer(database, steps.length);
  for (let layout = layoutOf(database); layout < steps.length; layout++) {
    const run = database.transaction(() => {
      for (const statement of steps[layout] ?? []) database.run(statement);
      database.run(`PRAGMA user_version = ${layout + 1}`);
    });
    run.immediate();
  }
}

/** For readers, who wait for nobody: the writer has migrated before it lets them in. */
export function requireLayout(database: Database, steps: readonly Step[]): void {
  refuseNewer(database, steps.length);
  const layout = layoutOf(database);
  if (layout < steps.length)
    throw new StoreUnavailable(
      `the metadata database has layout ${layout} and this program reads ${steps.length}: open the writer first, which migrates it`,
    );
}

function refuseNewer(database: Database, known: number): void {
  const layout = layoutOf(database);
  if (layout > known)
    throw new StoreUnavailable(
      `the metadata database has layout ${layout} and this program knows layouts up to ${known}: start the newer Holdfast that wrote it, or restore a backup made before that upgrade`,
    );
}

/** For statements that run once: an open statement would keep the file open after `close`. */
export function firstRow(database: Database, sql: string): readonly unknown[] | undefined {
  const statement = database.prepare(sql);
  try {
    return statement.values()[0];
  } finally {
    statement.finalize();
  }
}
