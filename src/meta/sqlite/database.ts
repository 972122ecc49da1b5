/** Opening the one database file, for the writer and for readers. */
import { Database } from "bun:sqlite";
import { closeSync, existsSync, fsyncSync, mkdirSync, openSync } from "node:fs";
import { dirname } from "node:path";
import { StoreUnavailable } from "../port.ts";
import { storeError } from "./errors.ts";
import { firstRow, migrate, requireLayout, type Step, STEPS } from "./layout.ts";

export interface DatabaseOptions {
  /** Absolute path of the database file; the writer creates it and its directory. */
  readonly path: string;
  /** Pages kept in memory by this connection, in bytes. */
  readonly cacheBytes?: number;
  /**
   * How much of the file is read through the page cache of the kernel instead of copied, in bytes. Makes
   * gets in a large database faster, but a disk error is then a SIGBUS instead of an exception.
   */
  readonly mmapBytes?: number;
  readonly steps?: readonly Step[];
}

const CACHE_BYTES = 4 * 2 ** 20;
/** Locks of others are held for moments only: while a reader opens, while a log is recovered. */
const BUSY_MS = 5000;
/** What the log file is cut back to when it starts over. */
const LOG_BYTES_KEPT = 16 * 2 ** 20;

/** The connection that may write. There must be one at a time: the caller holds the data directory's lock. */
export function openForWriting(options: DatabaseOptions): Database {
  const created = !existsSync(options.path);
  const directory = dirname(options.path);
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  return opened(options, { create: true, readwrite: true }, (database) => {
    if (firstRow(database, "PRAGMA journal_mode = WAL")?.[0] !== "wal")
      throw new StoreUnavailable(`${options.path} is on a file system without shared memory maps`);
    database.run("PRAGMA synchronous = FULL");
    database.run("PRAGMA wal_autocheckpoint = 0");
    database.run(`PRAGMA journal_size_limit = ${LOG_BYTES_KEPT}`);
    migrate(database, options.steps ?? STEPS);
    if (created) for (const path of [directory, dirname(directory)]) syncDirectory(path);
  });
}

/** A connection that reads beside the writer, in any process. */
export function openForReading(options: DatabaseOptions): Database {
  return opened(options, { readonly: true }, (database) => {
    requireLayout(database, options.steps ?? STEPS);
  });
}

function opened(
  options: DatabaseOptions,
  mode: { readonly?: boolean; create?: boolean; readwrite?: boolean },
  prepare: (database: Database) => void,
): Database {
  let database: Database | undefined;
  try {
    database = new Database(options.path, mode);
    // Before anything that takes a lock: the default is to fail at once.
    database.run(`PRAGMA busy_timeout = ${BUSY_MS}`);
    database.run(`PRAGMA cache_size = -${Math.ceil((options.cacheBytes ?? CACHE_BYTES) / 1024)}`);
    database.run(`PRAGMA mmap_size = ${options.mmapBytes ?? 0}`);
    prepare(database);
    return database;
  } catch (error) {
    database?.close();
    throw storeError(error);
  }
}

/** Makes new names in a directory survive a power cut. */
function syncDirectory(path: string): void {
  const descriptor = openSync(path, "r");
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}
