/** fsync off the event loop, and directories whose entries must survive a crash. */
import fs from "node:fs";
import { dirname } from "node:path";

/** Resolves when the file's bytes and metadata are on the disk. */
export function fsync(fd: number): Promise<void> {
  return new Promise((resolve, reject) => {
    fs.fsync(fd, (error) => (error ? reject(error) : resolve()));
  });
}

/** Resolves when the file's bytes, and what it takes to find them again, are on the disk. */
export function fdatasync(fd: number): Promise<void> {
  return new Promise((resolve, reject) => {
    fs.fdatasync(fd, (error) => (error ? reject(error) : resolve()));
  });
}

/** Closes off the event loop: the last close of an unlinked file frees its blocks, which takes time. */
export function close(fd: number): Promise<void> {
  return new Promise((resolve, reject) => {
    fs.close(fd, (error) => (error ? reject(error) : resolve()));
  });
}

/** `mkdir -p`, with every new entry durable. */
export async function makeDirectory(path: string): Promise<void> {
  if (fs.existsSync(path)) return;
  const parent = dirname(path);
  await makeDirectory(parent);
  try {
    fs.mkdirSync(path, { mode: 0o750 });
  } catch (error) {
    if ((error as ErrnoException).code !== "EEXIST") throw error;
  }
  await syncDirectory(parent);
}

/** Makes the entries of a directory durable. */
export async function syncDirectory(path: string): Promise<void> {
  const fd = openDirectory(path);
  try {
    await fsync(fd);
  } finally {
    fs.closeSync(fd);
  }
}

function openDirectory(path: string): number {
  return fs.openSync(path, fs.constants.O_RDONLY | fs.constants.O_DIRECTORY);
}

interface OpenDirectory {
  readonly fd: number;
  users: number;
  evicted: boolean;
}

/** Directories kept open for the next fsync, at most `limit` of them: the least recently used is closed. */
export class DirectoryCache {
  readonly #limit: number;
  /** In the order of use. */
  readonly #open = new Map<string, OpenDirectory>();

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Makes the entries of a directory durable. Throws ENOENT where there is none. */
  async sync(path: string): Promise<void> {
    const directory = this.#take(path);
    try {
      await fsync(directory.fd);
    } finally {
      directory.users--;
      this.#closeIfDone(directory);
    }
  }

  /** Closes them all. */
  close(): void {
    for (const path of this.#open.keys()) this.forget(path);
  }

  /** For a directory that may have been removed: the next `sync` opens it anew. */
  forget(path: string): void {
    const directory = this.#open.get(path);
    if (!directory) return;
    this.#open.delete(path);
    directory.evicted = true;
    this.#closeIfDone(directory);
  }

  #take(path: string): OpenDirectory {
    const directory = this.#open.get(path) ?? { fd: openDirectory(path), users: 0, evicted: false };
    directory.users++;
    this.#open.delete(path);
    this.#open.set(path, directory);
    if (this.#open.size > this.#limit) {
      const [oldest] = this.#open.keys();
      if (oldest !== undefined) this.forget(oldest);
    }
    return directory;
  }

  #closeIfDone(directory: OpenDirectory): void {
    if (directory.evicted && directory.users === 0) fs.closeSync(directory.fd);
  }
}
