/** From SQLite's errors to the port's. */
import { SQLiteError } from "bun:sqlite";
import { StoreCorrupt, StoreFull, StoreUnavailable } from "../port.ts";

const CORRUPT = ["SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_FORMAT"];

/** The port's error for whatever a statement threw. What SQLite did not throw is a bug and stays as it is. */
export function storeError(error: unknown): unknown {
  if (!(error instanceof SQLiteError)) return error;
  const code = error.code ?? "";
  const options = { cause: error };
  if (code === "SQLITE_FULL")
    return new StoreFull("the metadata store's disk is full: make room on it", options);
  if (CORRUPT.some((prefix) => code.startsWith(prefix)))
    return new StoreCorrupt(`the metadata store is damaged: ${error.message}`, options);
  return new StoreUnavailable(`the metadata store failed (${code}): ${error.message}`, options);
}
