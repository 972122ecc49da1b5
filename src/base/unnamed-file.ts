/** Files that have no name until they are written (O_TMPFILE): a process killed before leaves nothing of them. Linux only. */
import fs from "node:fs";
import { openLibc } from "./libc.ts";

const { O_RDWR, O_DIRECTORY } = fs.constants;
/** Not among the runtime's constants; the same on every architecture that Bun runs on. */
const O_TMPFILE = 0o20000000 | O_DIRECTORY;
const AT_FDCWD = -100;
const AT_SYMLINK_FOLLOW = 0x400;

type Linkat = (
  fromDirectory: number,
  from: Uint8Array,
  toDirectory: number,
  to: Uint8Array,
  flags: number,
) => number;

let bound: { readonly linkat: Linkat | undefined } | undefined;

function bind(): Linkat | undefined {
  if (!bound) {
    const args = ["i32", "ptr", "i32", "ptr", "i32"] as const;
    const libc =
      process.platform === "linux" ? openLibc({ linkat: { args, returns: "i32" } }) : undefined;
    bound = { linkat: libc?.symbols.linkat as Linkat | undefined };
  }
  return bound.linkat;
}

/** Opens a new file in a directory; `undefined` where that cannot be done, whatever the reason. */
export function openUnnamed(directory: string, mode: number): number | undefined {
  if (bind() === undefined) return undefined;
  try {
    return fs.openSync(directory, O_TMPFILE | O_RDWR, mode);
  } catch {
    return undefined;
  }
}

/** Gives an unnamed file its name; false where that cannot be done, whatever the reason. */
export function nameFile(fd: number, path: string): boolean {
  const from = Buffer.from(`/proc/self/fd/${fd}\0`);
  const to = Buffer.from(`${path}\0`);
  return bind()?.(AT_FDCWD, from, AT_FDCWD, to, AT_SYMLINK_FOLLOW) === 0;
}
