/** Reads on one connection. Each is a single statement, and so a consistent snapshot with its revision. */
import type { Database, Statement } from "bun:sqlite";
import {
  ABSENT,
  type Change,
  type Entry,
  type GetResult,
  RevisionCompacted,
  type ScanOptions,
  type ScanResult,
  StoreCorrupt,
} from "../port.ts";
import { storeError } from "./errors.ts";

type Row = readonly unknown[];

/** Above every ASCII key. */
const LAST = "\u{10ffff}";

export class Reader {
  readonly #revision: Statement;
  readonly #get: Statement;
  /** By direction, and by whether only keys are wanted. */
  readonly #scans: Readonly<
    Record<"ASC" | "DESC", { readonly all: Statement; readonly keys: Statement }>
  >;
  readonly #changes: Statement;

  constructor(database: Database) {
    // `query`, not `prepare`: these are finalized when the database is closed.
    this.#revision = database.query("SELECT revision FROM store WHERE id = 1");
    // CROSS JOIN keeps the nesting as written, so rows come in the order of the keys asked.
    this.#get = database.query(
      `SELECT s.revision, kv.value, kv.version FROM store s CROSS JOIN json_each(?1) asked
       LEFT JOIN kv ON kv.key = asked.value WHERE s.id = 1`,
    );
    // The first row is the revision: one statement, one snapshot, and no column that every row repeats.
    const scan = (direction: string, first: string, columns: string) =>
      database.query(
        `SELECT ${first} FROM store WHERE id = 1
         UNION ALL SELECT * FROM (SELECT ${columns} FROM kv
         WHERE key >= ?1 AND key < ?2 ORDER BY key ${direction} LIMIT ?3)`,
      );
    const scans = (direction: string) => ({
      all: scan(direction, "revision, NULL, NULL", "key, value, version"),
      keys: scan(direction, "revision", "key"),
    });
    this.#scans = { ASC: scans("ASC"), DESC: scans("DESC") };
    this.#changes = database.query(
      `SELECT s.compacted, c.revision, c.entries FROM store s
       LEFT JOIN changes c ON c.revision > ?1
       WHERE s.id = 1 ORDER BY c.revision LIMIT ?2`,
    );
  }

  revision(): number {
    return one(rows(this.#revision))[0] as number;
  }

  get(keys: readonly string[]): GetResult {
    if (keys.length === 0) return { revision: this.revision(), stale: false, entries: [] };
    const found = rows(this.#get, JSON.stringify(keys));
    const entries = keys.map((key, index): Entry | undefined => {
      const [, value, version] = found[index] as Row;
      return version === null
        ? undefined
        : { key, value: value as string, version: version as number };
    });
    return { revision: one(found)[0] as number, stale: false, entries };
  }

  scan({ prefix, after, limit, reverse = false, keysOnly = false }: ScanOptions): ScanResult {
    let from = prefix;
    let to = prefix === "" ? LAST : endOf(prefix);
    if (after !== undefined) {
      // The first key after a key is that key and a NUL.
      if (reverse) to = after < to ? after : to;
      else from = after >= from ? `${after}\0` : from;
    }
    const scan = this.#scans[reverse ? "DESC" : "ASC"][keysOnly ? "keys" : "all"];
    const found = rows(scan, from, to, limit + 1);
    const revision = one(found)[0] as number;
    const count = Math.min(limit, found.length - 1);
    const entries: Entry[] = [];
    for (let at = 1; at <= count; at++) {
      const [key, value = "", version = ABSENT] = found[at] as readonly [string, string?, number?];
      entries.push({ key, value, version });
    }
    return { revision, stale: false, entries, more: found.length - 1 > limit };
  }

  /**
   * Up to `limit` commits after revision `after`, in order; those that touch no key under `prefix` come
   * with no changes. Throws `RevisionCompacted` when some of them have been trimmed.
   */
  changes(after: number, prefix: string, limit: number): Change[] {
    const found = rows(this.#changes, after, limit);
    const compacted = one(found)[0] as number;
    if (after < compacted)
      throw new RevisionCompacted(
        `the changes after revision ${after} are gone: history starts after ${compacted}`,
      );
    if (found[0]?.[1] === null) return [];
    const opening = `[${JSON.stringify(prefix).slice(0, -1)}`;
    return found.map(([, revision, text]) => ({
      revision: revision as number,
      changes: (text as string).includes(opening) ? parseChanges(text as string, prefix) : [],
    }));
  }
}

/** The text of a commit's changes, as `parseChanges` reads it. */
export function changesText(changes: Change["changes"]): string {
  return JSON.stringify(changes.map(({ key, value }) => [key, value ?? null]));
}

function parseChanges(text: string, prefix: string): Change["changes"] {
  return (JSON.parse(text) as [string, string | null][])
    .filter(([key]) => key.startsWith(prefix))
    .map(([key, value]) => ({ key, value: value ?? undefined }));
}

/** The bound above every ASCII key that starts with `prefix`. */
function endOf(prefix: string): string {
  const last = prefix.length - 1;
  return prefix.slice(0, last) + String.fromCharCode(prefix.charCodeAt(last) + 1);
}

function rows(statement: Statement, ...parameters: (string | number)[]): readonly Row[] {
  try {
    return statement.values(...parameters);
  } catch (error) {
    throw storeError(error);
  }
}

function one(found: readonly Row[]): Row {
  const row = found[0];
  if (row === undefined) throw new StoreCorrupt("the metadata store has lost its revision");
  return row;
}
