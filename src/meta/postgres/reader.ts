/** Reads. Each is a single statement, and so a consistent snapshot with its revision. */
import type { SQL } from "bun";
import {
  ABSENT,
  type Change,
  type Entry,
  type GetResult,
  RevisionCompacted,
  type ScanOptions,
  type ScanResult,
} from "../port.ts";
import { Deadline } from "./deadline.ts";
import { serverBehind, storeReplaced, tablesEmptied } from "./errors.ts";
import { GetQueue } from "./get-queue.ts";
import type { Known } from "./known.ts";
import type { Sessions } from "./sessions.ts";

type Row = readonly unknown[];

const READ_MS = 2000;
/** Above every ASCII key. */
const LAST = "\u{10ffff}";

export class Reader {
  readonly #sessions: Sessions;
  readonly #known: Known;
  readonly #gets = new GetQueue((keys) => this.#getMany(keys));
  /** Scans that have not been sent: whoever asks the same shares the answer. */
  readonly #scans = new Map<string, Promise<ScanResult>>();

  constructor(sessions: Sessions, known: Known) {
    this.#sessions = sessions;
    this.#known = known;
  }

  get(keys: readonly string[]): Promise<GetResult> {
    return this.#gets.add(keys);
  }

  scan(options: ScanOptions): Promise<ScanResult> {
    const { prefix, after, limit, reverse = false, keysOnly = false } = options;
    const id = JSON.stringify([prefix, after, limit, reverse, keysOnly]);
    const waiting = this.#scans.get(id);
    if (waiting !== undefined) return waiting;
    const scan = this.#read((sql) => {
      this.#scans.delete(id);
      return scanRows(sql, options);
    })
      .then(({ rows, revision }) => {
        const entries = rows
          .slice(1, limit + 1)
          .map(([version, key, value]) => entryOf(key, value, version, keysOnly));
        return { revision, stale: false, entries, more: rows.length - 1 > limit };
      })
      .finally(() => {
        if (this.#scans.get(id) === scan) this.#scans.delete(id);
      });
    this.#scans.set(id, scan);
    return scan;
  }

  /**
   * Up to `limit` commits after revision `after`, in order; those that touch no key under `prefix` come
   * with no changes. Throws `RevisionCompacted` when some of them have been trimmed.
   */
  async changes(after: number, prefix: string, limit: number): Promise<Change[]> {
    const { rows } = await this.#read((sql) =>
      sql`
        SELECT revision, identity::text, compacted FROM holdfast.state
        UNION ALL SELECT * FROM (SELECT revision, entries::text, NULL::bigint FROM holdfast.changes
          WHERE revision > ${String(after)}::text::bigint ORDER BY revision
          LIMIT ${String(limit)}::text::bigint) c`.values(),
    );
    const [latest, compacted] = [Number(rows[0]?.[0]), Number(rows[0]?.[2])];
    // Every revision has its row, unless somebody has deleted them by hand.
    const there = Math.min(limit, latest - after);
    if (after < compacted || rows.length - 1 < there)
      throw new RevisionCompacted(
        `the changes after revision ${after} are gone: history starts after ${compacted}`,
      );
    const opening = `[${JSON.stringify(prefix).slice(0, -1)}`;
    return rows.slice(1).map(([revision, text]) => ({
      revision: Number(revision),
      changes: (text as string).includes(opening) ? parseChanges(text as string, prefix) : [],
    }));
  }

  async #getMany(
    keys: readonly string[],
  ): Promise<{ revision: number; entries: Map<string, Entry> }> {
    const { rows, revision } = await this.#read((sql) =>
      sql`
        SELECT revision, identity::text, NULL FROM holdfast.state
        UNION ALL SELECT version, key, value FROM holdfast.entries
          WHERE key = ANY (${arrayLiteral(keys)}::text::text[])`.values(),
    );
    const entries = new Map<string, Entry>();
    for (const [version, key, value] of rows.slice(1))
      entries.set(key as string, entryOf(key, value, version, false));
    return { revision, entries };
  }

  /** The first row begins with the store's revision and identity. */
  #read(query: (sql: SQL) => Promise<Row[]>): Promise<{ rows: readonly Row[]; revision: number }> {
    return this.#sessions.run(new Deadline(READ_MS), async (sql, host) => {
      const known = this.#known.revision;
      const rows = await query(sql);
      if (rows[0] === undefined) throw tablesEmptied();
      if (rows[0][1] !== this.#known.identity) throw storeReplaced();
      const revision = Number(rows[0][0]);
      if (revision < known) throw serverBehind(known, revision, host);
      this.#known.raise(revision);
      return { rows, revision };
    });
  }
}

/** The first row is the revision and the identity, the others are version, key, value. */
function scanRows(
  sql: SQL,
  { prefix, after, limit, reverse = false, keysOnly = false }: ScanOptions,
): Promise<Row[]> {
  let to = prefix === "" ? LAST : endOf(prefix);
  if (reverse && after !== undefined && after < to) to = after;
  const beyond = reverse || after === undefined ? "" : after;
  const columns = keysOnly ? sql`NULL::bigint, key, NULL::text` : sql`version, key, value`;
  const direction = reverse ? sql`DESC` : sql`ASC`;
  return sql`
    SELECT revision, identity::text, NULL FROM holdfast.state
    UNION ALL SELECT * FROM (SELECT ${columns} FROM holdfast.entries
      WHERE key >= ${prefix}::text AND key > ${beyond}::text AND key < ${to}::text
      ORDER BY key ${direction} LIMIT ${String(limit + 1)}::text::bigint) e`.values();
}

function entryOf(key: unknown, value: unknown, version: unknown, keysOnly: boolean): Entry {
  return keysOnly
    ? { key: key as string, value: "", version: ABSENT }
    : { key: key as string, value: value as string, version: Number(version) };
}

function parseChanges(text: string, prefix: string): Change["changes"] {
  return (JSON.parse(text) as [string, string | null][])
    .filter(([key]) => key.startsWith(prefix))
    .map(([key, value]) => ({ key, value: value ?? undefined }));
}

/** PostgreSQL's text form of `text[]`. */
function arrayLiteral(keys: readonly string[]): string {
  return `{${keys.map((key) => `"${key.replaceAll(/["\\]/g, String.raw`\$&`)}"`).join(",")}}`;
}

/** The bound above every ASCII key that starts with `prefix`. */
function endOf(prefix: string): string {
  const last = prefix.length - 1;
  return prefix.slice(0, last) + String.fromCharCode(prefix.charCodeAt(last) + 1);
}
