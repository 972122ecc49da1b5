import { OperatorError } from "../base/operator-error.ts";
import { BlobStoreFull, BlobStoreUnavailable } from "../blobs/port.ts";
import { StorjError } from "../blobs/s3/storj/index.ts";
import { JournalError } from "../journal/index.ts";
import { StoreCorrupt, StoreUnavailable } from "../meta/port.ts";
import { WrongInstallation } from "../registry/installation.ts";
import { SchemaTooNew, StoreHalfRestored } from "../registry/schema.ts";

/** The server cannot start. The message is one sentence: what is in the way, and the remedy. */
export class StartError extends Error {
  override readonly name = "StartError";
}

/** What says in its message, to an operator, what is in the way. */
const SENTENCES = [
  BlobStoreFull,
  BlobStoreUnavailable,
  JournalError,
  OperatorError,
  SchemaTooNew,
  StoreCorrupt,
  StoreHalfRestored,
  StorjError,
  StoreUnavailable,
  WrongInstallation,
] as const;

/** Runs a step of the start: what stores have to say becomes the reason why there is none. */
export async function starting<T>(step: () => Promise<T>): Promise<T> {
  try {
    return await step();
  } catch (error) {
    const known = SENTENCES.some((kind) => error instanceof kind);
    if (known && error instanceof Error) throw new StartError(error.message, { cause: error });
    throw error;
  }
}

/** `code` of a system error such as `EACCES`, or `undefined`. */
export function errorCode(error: unknown): string | undefined {
  return error instanceof Error && "code" in error && typeof error.code === "string"
    ? error.code
    : undefined;
}
