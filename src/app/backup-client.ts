/** Asking the server that runs for a backup of its metadata, and keeping it as a file. */
import fs from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { randomHex } from "../base/clock.ts";
import { fsync, syncDirectory } from "../base/fsync.ts";
import { writeWholeAsync } from "../base/whole-io.ts";
import { type BackupLabel, checkArchive, openArchive } from "../journal/index.ts";
import { withSocketName } from "../base/socket-path.ts";
import { adminSocketPath } from "./admin-socket.ts";
import { BACKUP_BYTES } from "./backup.ts";
import { refusalOf, unanswered } from "./cluster-client.ts";
import { StartError, errorCode, starting } from "./start-error.ts";

export interface TakeBackupOptions {
  /** Data directory of the server that is asked. */
  readonly data: string;
  /** Where the backup goes. */
  readonly file: string;
  /** Replace what is there. */
  readonly force: boolean;
  /** Bytes received, and in all. */
  readonly progress: (done: number, total: number) => void;
  readonly signal: AbortSignal;
}

export interface TakenBackup {
  readonly label: BackupLabel;
  readonly bytes: number;
}

/** The file is there whole, read back and durable, or not at all. Throws `StartError`. */
export function takeBackup(options: TakeBackupOptions): Promise<TakenBackup> {
  return starting(async () => {
    const file = resolve(options.file);
    requireFree(file, options);
    const draft = join(dirname(file), `.${basename(file)}.${randomHex(6)}`);
    try {
      const bytes = await receive(draft, options);
      const archive = await openArchive(Bun.file(draft), file);
      await checkArchive(archive, file, { signal: options.signal });
      requireFree(file, options);
      fs.renameSync(draft, file);
      await syncDirectory(dirname(file));
      return { label: archive.label, bytes };
    } finally {
      fs.rmSync(draft, { force: true });
    }
  });
}

function requireFree(file: string, { force }: TakeBackupOptions): void {
  if (!force && fs.existsSync(file))
    throw new StartError(`${file} is there already: choose another name, or add --force`);
}

async function receive(
  draft: string,
  { data, progress, signal }: TakeBackupOptions,
): Promise<number> {
  const response = await ask(data, signal);
  if (!response.ok) throw await refusalOf(response);
  const total = Number(response.headers.get(BACKUP_BYTES));
  const fd = created(draft);
  try {
    let done = 0;
    for await (const chunk of arriving(response, signal)) {
      await writeWholeAsync(fd, chunk, done);
      done += chunk.byteLength;
      progress(done, total);
    }
    if (done !== total) throw broken();
    await fsync(fd);
    return done;
  } catch (error) {
    const code = errorCode(error);
    if (code === undefined) throw error;
    throw new StartError(`cannot write ${draft} (${code}): choose another place`, { cause: error });
  } finally {
    fs.closeSync(fd);
  }
}

async function* arriving(
  { body }: Response,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array<ArrayBuffer>, void, void> {
  const reader = body?.getReader();
  for (;;) {
    let next: Awaited<ReturnType<NonNullable<typeof reader>["read"]>> | undefined;
    try {
      next = await reader?.read();
    } catch (error) {
      signal.throwIfAborted();
      throw broken(error);
    }
    if (next === undefined || next.done) return;
    yield next.value;
  }
}

function broken(cause?: unknown): StartError {
  return new StartError("the server broke off before the backup was whole: see its log", { cause });
}

async function ask(data: string, signal: AbortSignal): Promise<Response> {
  const path = adminSocketPath(data);
  try {
    fs.accessSync(path, fs.constants.R_OK | fs.constants.W_OK);
    return await withSocketName(path, (unix) =>
      fetch("http://holdfast/backup", { method: "POST", unix, signal }),
    );
  } catch (error) {
    signal.throwIfAborted();
    throw new StartError(unanswered(data, error), { cause: error });
  }
}

function created(draft: string): number {
  try {
    return fs.openSync(draft, "wx", 0o600);
  } catch (error) {
    throw new StartError(
      `cannot write in ${dirname(draft)} (${errorCode(error) ?? String(error)}): choose another place`,
      { cause: error },
    );
  }
}
