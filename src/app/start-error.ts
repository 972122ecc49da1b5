/** The server cannot start. The message is one sentence: what is in the way, and the remedy. */
export class StartError extends Error {
  override readonly name = "StartError";
}

/** `code` of a system error such as `EACCES`, or `undefined`. */
export function errorCode(error: unknown): string | undefined {
  return error instanceof Error && "code" in error && typeof error.code === "string"
    ? error.code
    : undefined;
}
