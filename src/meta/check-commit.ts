import type { Commit } from "./port.ts";

/** Throws `RangeError` for a commit that the port does not allow: a bug of the caller. `most`: the engine's `operationsMax`. */
export function checkCommit(
  { expect = [], put = [], delete: deleted = [] }: Commit,
  most: number,
): void {
  const writes = put.length + deleted.length;
  if (writes > most || expect.length > most)
    throw new RangeError(
      `a commit of ${writes} writes and ${expect.length} expectations: each may be at most ${most}`,
    );
  if (writes < 2) return;
  const keys = new Set(deleted);
  for (const { key } of put) keys.add(key);
  if (keys.size < writes) throw new RangeError("a commit writes a key twice");
}
