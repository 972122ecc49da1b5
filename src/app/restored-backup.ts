/** What restoring a backup takes, and what comes of it. */
import type { Logger } from "../base/log.ts";
import type { Config } from "../config/config.ts";
import type { RestoreProgress } from "../journal/index.ts";
import type { Lost } from "../registry/lost.ts";

export interface RestoreBackupOptions {
  readonly config: Config;
  readonly file: string;
  readonly log: Logger;
  readonly progress: (progress: RestoreProgress) => void;
  readonly signal: AbortSignal;
}

export interface RestoredBackup {
  readonly entries: number;
  /** When the backup was made; milliseconds since the epoch. */
  readonly at: number;
  /** Where the metadata that was there, without a repository, has been moved. */
  readonly kept: string | undefined;
  /** Blobs without a copy; absent where that is not looked for. */
  readonly lost?: Lost;
  /** Why they were not looked for: what ended it. */
  readonly unasked?: string;
  /** Nodes that could not be asked for theirs. */
  readonly silent: readonly string[];
}
