/** Several commits in one transaction and one fsync; each succeeds or conflicts by itself. */
import type { Database, Statement } from "bun:sqlite";
import { ABSENT, type Change, type Commit, type CommitResult } from "../port.ts";
import { storeError } from "./errors.ts";
import { firstRow } from "./layout.ts";
import { changesText } from "./reader.ts";
import { Recent } from "./recent.ts";
import type { RevisionPage } from "./revision-page.ts";

/** Largest part of the history that one group trims: keeps every group short. */
const TRIM_MAX = 1000;

export class GroupCommitter {
  readonly #recent = new Recent();
  readonly #database: Database;
  readonly #historyMax: number;
  readonly #page: RevisionPage;
  readonly #begin: Statement;
  readonly #commit: Statement;
  readonly #version: Statement;
  readonly #put: Statement;
  readonly #delete: Statement;
  readonly #log: Statement;
  readonly #trim: Statement;
  readonly #store: Statement;
  #revision: number;
  #compacted: number;

  constructor(database: Database, historyMax: number, page: RevisionPage) {
    this.#database = database;
    this.#page = page;
    this.#historyMax = historyMax;
    this.#begin = database.query("BEGIN IMMEDIATE");
    this.#commit = database.query("COMMIT");
    this.#version = database.query("SELECT version FROM kv WHERE key = ?1");
    this.#put = database.query("REPLACE INTO kv (key, value, version) VALUES (?1, ?2, ?3)");
    this.#delete = database.query("DELETE FROM kv WHERE key = ?1");
    this.#log = database.query("INSERT INTO changes (revision, entries) VALUES (?1, ?2)");
    this.#trim = database.query("DELETE FROM changes WHERE revision <= ?1");
    this.#store = database.query("UPDATE store SET revision = ?1, compacted = ?2 WHERE id = 1");
    const row = firstRow(database, "SELECT revision, compacted FROM store WHERE id = 1");
    const [revision, compacted] = row as readonly [number, number];
    this.#revision = revision;
    this.#compacted = compacted;
    page.settle(revision);
  }

  /** The latest durable revision. */
  get revision(): number {
    return this.#revision;
  }

  /** What `Reader.changes` finds in the database, where it is still in memory; else `undefined`. */
  recentChanges(after: number, prefix: string): readonly Change[] | undefined {
    return after < this.#compacted ? undefined : this.#recent.after(after, prefix);
  }

  /** One result a commit, in order. When it throws, none of the group has happened. */
  run(commits: readonly Commit[]): CommitResult[] {
    let revision = this.#revision;
    let compacted = this.#compacted;
    const made: Change[] = [];
    try {
      this.#begin.run();
      const results = commits.map((commit) => {
        const result = this.#apply(commit, revision, made);
        if (result.ok) revision = result.revision;
        return result;
      });
      if (revision > this.#revision) {
        compacted = Math.max(
          compacted,
          Math.min(revision - this.#historyMax, compacted + TRIM_MAX),
        );
        if (compacted > this.#compacted) this.#trim.run(compacted);
        this.#store.run(revision, compacted);
      }
      if (revision > this.#revision) this.#page.unsettle();
      // When this throws, what became of the group is not known here, and the page goes on saying so.
      this.#commit.run();
      this.#revision = revision;
      this.#compacted = compacted;
      this.#page.settle(revision);
      this.#recent.add(made);
      return results;
    } catch (error) {
      // After some errors SQLite has rolled back by itself.
      if (this.#database.inTransaction) this.#database.run("ROLLBACK");
      throw storeError(error);
    }
  }

  #apply({ expect, put, delete: deleted }: Commit, before: number, made: Change[]): CommitResult {
    if (expect !== undefined) {
      const failed = expect.filter(({ key, version }) => this.#versionOf(key) !== version);
      if (failed.length > 0) return { ok: false, keys: failed.map(({ key }) => key) };
    }
    const revision = before + 1;
    const changes: { readonly key: string; readonly value: string | undefined }[] = [];
    for (const { key, value } of put ?? []) {
      this.#put.run(key, value, revision);
      changes.push({ key, value });
    }
    // Deleting what is absent is no change.
    for (const key of deleted ?? [])
      if (this.#delete.run(key).changes > 0) changes.push({ key, value: undefined });
    if (changes.length === 0) return { ok: true, revision: before };
    this.#log.run(revision, changesText(changes));
    made.push({ revision, changes });
    return { ok: true, revision };
  }

  #versionOf(key: string): number {
    return (this.#version.values(key)[0]?.[0] as number | undefined) ?? ABSENT;
  }
}
