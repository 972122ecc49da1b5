/** Giving parts of a file back to the file system. */
import { openLibc } from "./libc.ts";

const KEEP_SIZE = 1;
const PUNCH_HOLE = 2;

type Fallocate = (fd: number, mode: number, offset: number, length: number) => number;

let bound: { readonly fallocate: Fallocate | undefined } | undefined;

function bind(): Fallocate | undefined {
  if (!bound) {
    const args = ["i32", "i32", "i64", "i64"] as const;
    const libc =
      process.platform === "linux" ? openLibc({ fallocate: { args, returns: "i32" } }) : undefined;
    bound = { fallocate: libc?.symbols.fallocate as Fallocate | undefined };
  }
  return bound.fallocate;
}

/**
 * Frees the whole file system blocks among these bytes, which then read as zeros. False where that cannot be
 * done, whatever the reason.
 */
export function punchHole(fd: number, offset: number, length: number): boolean {
  return bind()?.(fd, PUNCH_HOLE | KEEP_SIZE, offset, length) === 0;
}
