/** Advisory whole-file locks, flock(2): held by an open file description, gone with the process. */
import { read } from "bun:ffi";
import { openLibc } from "./libc.ts";

const SHARED = 1;
const EXCLUSIVE = 2;
const WITHOUT_WAITING = 4;
const IS_MAC = process.platform === "darwin";
const WOULD_BLOCK = IS_MAC ? 35 : 11;

const FLOCK = { args: ["i32", "i32"], returns: "i32" } as const;
const ERRNO = { args: [], returns: "ptr" } as const;

interface Flock {
  flock(fd: number, operation: number): number;
  errno(): number;
}

let bound: Flock | undefined;

function bind(): Flock {
  if (bound) return bound;
  const name = IS_MAC ? "__error" : "__errno_location";
  const symbols = openLibc({ flock: FLOCK, [name]: ERRNO })?.symbols as
    | { flock: (fd: number, operation: number) => number; [errno: string]: unknown }
    | undefined;
  if (!symbols) throw new Error("the C library of this system has no flock");
  const place = symbols[name] as () => Parameters<typeof read.i32>[0];
  bound = { flock: symbols.flock, errno: () => read.i32(place(), 0) };
  return bound;
}

/**
 * Takes the lock of an open file without waiting: `false` when another open file description, of this process or
 * another, holds it (for a shared lock: holds it exclusively). Released when the descriptor is closed or the process
 * ends. Throws where the file system has no such locks.
 */
export function tryLock(fd: number, kind: "exclusive" | "shared" = "exclusive"): boolean {
  const libc = bind();
  const operation = (kind === "shared" ? SHARED : EXCLUSIVE) | WITHOUT_WAITING;
  if (libc.flock(fd, operation) === 0) return true;
  const errno = libc.errno();
  if (errno === WOULD_BLOCK) return false;
  throw new Error(`flock failed with errno ${errno}: the file system may not support locks`);
}
