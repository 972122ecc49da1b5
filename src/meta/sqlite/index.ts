/** What app/ needs of this engine. */
import type { Committer } from "../link/server.ts";
import { SqliteWriter, type WriterOptions } from "./writer.ts";

/** Opens, creates or upgrades the database for writing; the caller holds the data directory's lock. */
export function openWriter(options: WriterOptions): SqliteWriter {
  return new SqliteWriter(options);
}

/** What the node's socket serves when nothing stands between it and the writer. */
export function committerOf(writer: SqliteWriter): Committer {
  return { commit: (commit) => writer.commit(commit), revisions: writer };
}

export { connectClient } from "./client.ts";
