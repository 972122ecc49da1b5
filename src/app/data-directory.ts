/** The data directory, taken for this process alone. */
import { closeSync, ftruncateSync, mkdirSync, openSync, readFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { tryLock } from "../base/flock.ts";
import { StartError, errorCode } from "./start-error.ts";

/** The name does not begin like anything that distribution writes. */
const LOCK_NAME = "holdfast.lock";

/**
 * Makes the directory where it is missing and holds its lock until disposed of, or until the process ends in
 * any way. Throws `StartError` when it cannot be written or another process holds it.
 */
export function takeDataDirectory(directory: string): Disposable {
  let fd: number;
  try {
    mkdirSync(directory, { recursive: true });
    fd = openSync(join(directory, LOCK_NAME), "a+", 0o644);
  } catch (error) {
    const code = errorCode(error);
    throw new StartError(
      `cannot write to the data directory ${directory} (${code ?? String(error)}): ${remedy(code)}choose another with --data`,
    );
  }
  const release = (): void => closeSync(fd);
  try {
    if (!tryLock(fd)) throw new StartError(taken(directory));
    ftruncateSync(fd, 0);
    writeSync(fd, `${process.pid}\n`);
  } catch (error) {
    release();
    if (error instanceof StartError) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new StartError(
      `cannot lock the data directory ${directory} (${reason}): choose one on a local disk with --data`,
    );
  }
  return { [Symbol.dispose]: release };
}

function remedy(code: string | undefined): string {
  switch (code) {
    case "EACCES":
    case "EPERM":
      return `give user id ${process.getuid?.() ?? "of this process"} write access to it, or `;
    case "EEXIST":
    case "ENOTDIR":
      return "it, or what is above it, is no directory: ";
    case "ENOENT":
      return "it cannot be made there: ";
    case "EROFS":
      return "its file system is read-only: mount it for writing, or ";
    case undefined:
    default:
      return "";
  }
}

function taken(directory: string): string {
  const pid = readFileSync(join(directory, LOCK_NAME), "utf8").trim();
  const who = /^\d+$/.test(pid) ? ` (process ${pid})` : "";
  return `another holdfast${who} already serves the data directory ${directory}: stop it, or choose another directory with --data`;
}
