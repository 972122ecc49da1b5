/** An empty store whose revisions continue after those of a store that is gone. */
import type { Database } from "bun:sqlite";
import { type Revision, StoreUnavailable } from "../port.ts";
import { storeError } from "./errors.ts";
import { firstRow } from "./layout.ts";

/** Raises the revision to at least `above` and drops the history, or closes the database and throws `StoreUnavailable`. */
export function startAbove(database: Database, above: Revision): void {
  try {
    const run = database.transaction(() => {
      if (firstRow(database, "SELECT 1 FROM kv LIMIT 1") !== undefined)
        throw new StoreUnavailable(
          `the metadata database ${database.filename} is not empty: move it away, and start with none`,
        );
      database.run("DELETE FROM changes");
      // A watch from before cannot go on: what it has seen was another store's.
      database.run("UPDATE store SET revision = max(revision, ?1), compacted = max(revision, ?1)", [
        above,
      ]);
    });
    run.immediate();
  } catch (error) {
    database.close();
    throw storeError(error);
  }
}
