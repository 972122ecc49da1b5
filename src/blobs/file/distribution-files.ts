/** Reading files that somebody else wrote: plain files and directories only, no link is followed, everything bounded. */
import fs from "node:fs";
import { LINK_BYTES_MAX } from "../distribution.ts";
import { codeOf } from "./errors.ts";

const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = fs.constants;
/** What the name does not lead to as a plain file, or at all. */
const NOT_PLAIN: ReadonlySet<string | undefined> = new Set(["ELOOP", "EISDIR", "ENXIO", "ENOTDIR"]);

export interface LinkText {
  readonly text: string;
  /** Milliseconds since the epoch. */
  readonly at: number;
}

/** The entries of a directory, in no order; none where there is no directory. */
export async function entriesOf(path: string): Promise<fs.Dirent[]> {
  if (!isDirectory(path)) return [];
  try {
    return await fs.promises.readdir(path, { withFileTypes: true });
  } catch (error) {
    if (codeOf(error) === "ENOENT") return [];
    throw error;
  }
}

/** Of the name itself, not of what a symbolic link leads to. */
export function isDirectory(path: string): boolean {
  return lstat(path)?.isDirectory() ?? false;
}

export function lstat(path: string): fs.Stats | undefined {
  try {
    return fs.lstatSync(path);
  } catch (error) {
    if (codeOf(error) === "ENOENT" || codeOf(error) === "ENOTDIR") return undefined;
    throw error;
  }
}

/** The text of a link file; `"missing"`, or `"not plain"` for anything but a small plain file. */
export async function readLink(path: string): Promise<LinkText | "missing" | "not plain"> {
  let fd: number;
  try {
    fd = await open(path);
  } catch (error) {
    const code = codeOf(error);
    if (code === "ENOENT") return "missing";
    if (NOT_PLAIN.has(code)) return "not plain";
    throw error;
  }
  try {
    const stats = fs.fstatSync(fd);
    if (!stats.isFile() || stats.size > LINK_BYTES_MAX) return "not plain";
    const bytes = Buffer.alloc(LINK_BYTES_MAX);
    const length = fs.readSync(fd, bytes, 0, LINK_BYTES_MAX, 0);
    return { text: bytes.toString("latin1", 0, length).trim(), at: Math.round(stats.mtimeMs) };
  } finally {
    fs.closeSync(fd);
  }
}

/** The one call that may wait for the disk goes off the event loop; a pipe does not hold it up. */
function open(path: string): Promise<number> {
  return new Promise((resolve, reject) => {
    fs.open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, (error, fd) =>
      error ? reject(error) : resolve(fd),
    );
  });
}

/** Maps `items` in their order with at most `width` under way. Memory: `width` results. */
export async function* mapped<T, R>(
  items: readonly T[],
  width: number,
  map: (item: T) => Promise<R>,
): AsyncGenerator<R, void, void> {
  for (let at = 0; at < items.length; at += width) {
    yield* await Promise.all(items.slice(at, at + width).map(map));
  }
}
