import { BlobStoreFull, BlobStoreUnavailable } from "../port.ts";

const FULL = new Set(["ENOSPC", "EDQUOT", "EFBIG"]);
const UNAVAILABLE = new Set([
  "EIO",
  "EROFS",
  "EACCES",
  "EPERM",
  "EMFILE",
  "ENFILE",
  "ENODEV",
  "ENXIO",
  "ENOTCONN",
  "ESTALE",
  "ETIMEDOUT",
]);

/** The system's error code, such as `ENOENT`. */
export function codeOf(error: unknown): string | undefined {
  return error instanceof Error ? (error as ErrnoException).code : undefined;
}

/** The port's error for a failed system call; what is neither of its kinds stays as it is. */
export function storeError(error: unknown): Error {
  if (!(error instanceof Error)) return new Error(String(error));
  const code = codeOf(error);
  if (code === undefined) return error;
  if (FULL.has(code)) return new BlobStoreFull("no space left for blobs", { cause: error });
  if (UNAVAILABLE.has(code)) {
    return new BlobStoreUnavailable(`the blob directory refuses work: ${error.message}`, {
      cause: error,
    });
  }
  return error;
}

/** Runs file work, with its system errors turned into the port's. */
export async function guarded<T>(work: () => Promise<T> | T): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw storeError(error);
  }
}
