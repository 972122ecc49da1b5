/**
 * The engine's own tables, in the schema `holdfast`, and how older ones become today's. `state.layout` counts the
 * steps that the database has been through; what the keys and values mean is not this file's business.
 *
 * entries   the records; `version` is the revision that last put them
 * changes   what each of the latest commits did, as JSON `[[key, value | null], …]`: what a watch reads
 * outcomes  what became of each group of commits, by the sender's token: found there when its answer was lost.
 *           `results` is null where the sender gave the group up before it had happened, so that it never will
 * state     one row: a random identity of this very store, the latest revision (also when its records are gone), the latest one that has been trimmed
 *           from `changes`, and the latest one that may be trimmed (null: any)
 */
import type { SQL } from "bun";
import { StoreUnavailable } from "../port.ts";
import { COMMIT_GROUP } from "./commit-function.ts";
import { Deadline } from "./deadline.ts";
import { sqlState, tablesEmptied } from "./errors.ts";
import type { Servers } from "./sessions.ts";

/** SQL statements, run in one transaction. Never edited once released: a later layout is a further step. */
export type Step = readonly string[];

export const STEPS: readonly Step[] = [
  [
    'CREATE TABLE holdfast.entries (key text COLLATE "C" PRIMARY KEY, value text NOT NULL, version bigint NOT NULL)',
    "CREATE TABLE holdfast.changes (revision bigint PRIMARY KEY, entries jsonb NOT NULL)",
    "CREATE TABLE holdfast.outcomes (token uuid PRIMARY KEY, revision bigint NOT NULL, results jsonb)",
    "CREATE INDEX outcomes_revision ON holdfast.outcomes (revision)",
    `CREATE TABLE holdfast.state (id int PRIMARY KEY CHECK (id = 1), layout int NOT NULL, revision bigint NOT NULL,
       compacted bigint NOT NULL, released bigint,
       identity uuid NOT NULL DEFAULT gen_random_uuid()) WITH (fillfactor = 10)`,
    "INSERT INTO holdfast.state (id, layout, revision, compacted) VALUES (1, 0, 0, 0)",
    COMMIT_GROUP,
  ],
];

/** How long the migration of another node is waited for. */
const MIGRATION_MS = 60_000;
const CONNECT_MS = 2000;
/** Held while tables are made or changed: any number that nobody else uses ("holdfast" in ASCII). */
const LOCK = "7525073163866534772";

export interface LayoutOptions {
  /** Makes every later revision greater than this one; refused unless the store is empty. */
  readonly above?: number;
  readonly steps?: readonly Step[];
}

interface State {
  readonly layout: number;
  readonly revision: number;
  /** Empty where there is no store yet. */
  readonly identity: string;
}

const NONE: State = { layout: 0, revision: 0, identity: "" };

/** Creates or upgrades the tables, whoever else does so at the same time. Returns what the store is then. */
export async function prepareLayout(
  servers: Servers,
  { above, steps = STEPS }: LayoutOptions,
): Promise<State> {
  const session = await servers.connect(new Deadline(CONNECT_MS));
  try {
    let state = await session.use(new Deadline(CONNECT_MS), readState);
    refuseNewer(state.layout, steps.length);
    if (state.layout < steps.length || above !== undefined)
      state = await session.use(new Deadline(MIGRATION_MS), (sql) =>
        sql.begin((transaction) => migrate(transaction, steps, above)),
      );
    return state;
  } finally {
    session.close();
  }
}

/** All steps that are missing, or none of them. */
async function migrate(
  sql: SQL,
  steps: readonly Step[],
  above: number | undefined,
): Promise<State> {
  // A node that vanishes in the middle must not keep the others out for hours.
  await sql`SELECT set_config('statement_timeout', ${String(MIGRATION_MS)}::text, true),
    set_config('idle_in_transaction_session_timeout', '10s', true)`;
  await sql`SELECT pg_advisory_xact_lock(${LOCK}::text::bigint)`;
  const [schema] = await sql`SELECT to_regclass('holdfast.state') IS NOT NULL AS there`;
  if (schema?.there !== true) {
    const [namespace] = await sql`SELECT to_regnamespace('holdfast') IS NOT NULL AS there`;
    if (namespace?.there !== true) await sql`CREATE SCHEMA holdfast`;
  }
  const { layout } = schema?.there === true ? await readState(sql) : NONE;
  refuseNewer(layout, steps.length);
  for (const step of steps.slice(layout)) for (const statement of step) await sql.unsafe(statement);
  await sql`UPDATE holdfast.state SET layout = ${steps.length}::int WHERE layout <> ${steps.length}::int`;
  if (above !== undefined) await raise(sql, above);
  return readState(sql);
}

async function raise(sql: SQL, above: number): Promise<void> {
  await sql`SELECT id FROM holdfast.state FOR UPDATE`;
  const rows = await sql`
    UPDATE holdfast.state SET identity = gen_random_uuid(), revision = greatest(revision, ${String(above)}::text::bigint),
      compacted = greatest(revision, ${String(above)}::text::bigint)
    WHERE NOT EXISTS (SELECT FROM holdfast.entries)
    RETURNING id`;
  if (rows.length === 0)
    throw new StoreUnavailable(
      "the metadata database is not empty: name an empty one in metadata.postgres.url, or drop the schema holdfast in this one (DROP SCHEMA holdfast CASCADE) if all of it may go",
    );
  // History that nobody can ask for any more.
  await sql`DELETE FROM holdfast.changes`;
}

async function readState(sql: SQL): Promise<State> {
  try {
    const [row] = await sql`SELECT layout, revision, identity::text FROM holdfast.state`.values();
    if (row === undefined) throw tablesEmptied();
    return { layout: Number(row[0]), revision: Number(row[1]), identity: String(row[2]) };
  } catch (error) {
    if (["42P01", "3F000"].includes(sqlState(error))) return NONE;
    throw error;
  }
}

function refuseNewer(layout: number, known: number): void {
  if (layout > known)
    throw new StoreUnavailable(
      `the metadata database has layout ${layout} and this program knows layouts up to ${known}: start the newer Holdfast that wrote it, or restore a backup made before that upgrade`,
    );
}
