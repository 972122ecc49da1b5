/** A unix socket's path may be 107 bytes long (unix(7)); a data directory's may be longer. */
import { closeSync, openSync } from "node:fs";
import { basename, dirname } from "node:path";

const PATH_BYTES_MAX = 107;

/**
 * Calls `use` with a name of the socket at `path` that the system takes: the path itself, or one through the
 * open directory, which is gone after `use` has settled (the socket stays).
 */
export async function withSocketName<T>(
  path: string,
  use: (name: string) => T | Promise<T>,
): Promise<T> {
  if (Buffer.byteLength(path) <= PATH_BYTES_MAX) return use(path);
  const directory = openSync(dirname(path), "r");
  try {
    return await use(`/proc/self/fd/${directory}/${basename(path)}`);
  } finally {
    closeSync(directory);
  }
}
