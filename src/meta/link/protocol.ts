/** What worker and writer say to each other: JSON in frames over a unix socket, many commits a frame. */
import {
  type Commit,
  type CommitResult,
  StoreCorrupt,
  StoreFull,
  StoreUnavailable,
} from "../port.ts";

/** Only a guard against a stream that is not ours: both ends are the same program. */
export const FRAME_BYTES_MAX = 256 * 2 ** 20;

/** Commits that one frame carries at most, so that a burst of large ones stays within the frame. */
export const FRAME_COMMITS_MAX = 256;

export interface Request {
  /** Numbers are the worker's own and come back with the replies. */
  readonly commits?: readonly (readonly [number, Commit])[];
  /** Whether revisions are to be announced from now on; turning it on announces the current one. */
  readonly watch?: boolean;
}

export interface Reply {
  readonly results?: readonly (readonly [number, CommitResult | Failure])[];
  readonly revision?: number;
}

export interface Failure {
  readonly failure: "full" | "unavailable" | "corrupt";
  readonly message: string;
}

export function failureOf(error: unknown): Failure {
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof StoreFull) return { failure: "full", message };
  if (error instanceof StoreCorrupt) return { failure: "corrupt", message };
  return { failure: "unavailable", message };
}

const ERRORS = { full: StoreFull, unavailable: StoreUnavailable, corrupt: StoreCorrupt };

export function errorOf({ failure, message }: Failure): Error {
  return new ERRORS[failure](message);
}
