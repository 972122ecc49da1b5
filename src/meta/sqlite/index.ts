/** What app/ needs of this engine. */
import { SqliteWriter, type WriterOptions } from "./writer.ts";

/** Opens, creates or upgrades the database for writing; the caller holds the data directory's lock. */
export function openWriter(options: WriterOptions): SqliteWriter {
  return new SqliteWriter(options);
}

export { connectClient } from "./client.ts";
export { serveWriter, type WriterServer } from "./server.ts";
