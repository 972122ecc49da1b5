/** The data directory: names in it become durable here. */
import fs from "node:fs";
import { dirname, join } from "node:path";
import { DirectoryCache, fsync, makeDirectory, syncDirectory } from "../../base/fsync.ts";
import { ALGORITHMS } from "../../oci/digest.ts";
import { BlobStoreFull, BlobStoreUnavailable, type Locator } from "../port.ts";
import { codeOf } from "./errors.ts";
import {
  BLOBS,
  isAdoptedLocator,
  isOwnLocator,
  isUploadId,
  isPackId,
  PACKS,
  UPLOADS,
} from "./locator.ts";

/** Directories kept open for fsync: the fan-out of both algorithms. */
const OPEN_DIRECTORIES = 512;

/** Path of an upload's file below the data directory. Throws for what is no id. */
export function uploadPath(id: string): string {
  if (!isUploadId(id)) throw new Error(`not an upload id: ${JSON.stringify(id)}`);
  return `${UPLOADS}/${id}`;
}

/** Path of a pack's file below the data directory. Throws for what is no id. */
export function packPath(id: string): string {
  if (!isPackId(id)) throw new Error(`not a pack id: ${JSON.stringify(id)}`);
  return `${PACKS}/${id}`;
}

/** What a file or directory is, whatever its name is. */
export type Identity = Pick<fs.BigIntStats, "dev" | "ino">;

export class Layout {
  readonly #directory: string;
  readonly #identity: Identity;
  readonly #directories = new DirectoryCache(OPEN_DIRECTORIES);
  /** Fan-out directories whose own entry this process knows to be durable, or is making so. */
  readonly #known = new Map<string, Promise<void>>();

  readonly #reserveBytes: number;

  private constructor(directory: string, identity: Identity, reserveBytes: number) {
    this.#directory = directory;
    this.#identity = identity;
    this.#reserveBytes = reserveBytes;
  }

  /** `reserveBytes`: see `requireRoom`. */
  static async open(directory: string, reserveBytes = 0): Promise<Layout> {
    try {
      for (const name of [
        UPLOADS,
        PACKS,
        ...ALGORITHMS.map((algorithm) => `${BLOBS}/${algorithm}`),
      ]) {
        const path = join(directory, name);
        await makeDirectory(path);
        fs.accessSync(path, fs.constants.R_OK | fs.constants.W_OK | fs.constants.X_OK);
      }
      // Also for entries that an earlier process made and was killed before it came to this.
      for (const name of ["", BLOBS]) await syncDirectory(join(directory, name));
      return new Layout(directory, fs.statSync(directory, { bigint: true }), reserveBytes);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw new BlobStoreUnavailable(
        `cannot write to the data directory ${directory} (${reason}): ` +
          `give this user the right to write there, or name another directory`,
        { cause: error },
      );
    }
  }

  /** Throws `BlobStoreUnavailable` where the data directory is not the one that was opened. */
  requireSame(): void {
    this.requireAt("", this.#identity);
  }

  /** The same for something in it (relative), which was opened there by this process. */
  requireAt(relative: string, { dev, ino }: Identity): void {
    const found = fs.statSync(this.path(relative), { bigint: true, throwIfNoEntry: false });
    if (found?.dev === dev && found.ino === ino) return;
    throw this.#lost(relative === "" ? "" : `${this.path(relative)} is gone; `);
  }

  /** Throws `BlobStoreFull` where less than the reserve is free. */
  requireRoom(): void {
    if (this.#reserveBytes === 0) return;
    const { bavail, bsize, blocks } = fs.statfsSync(this.#directory);
    const free = bavail * bsize;
    // A file system without a size of its own (ramfs) says that it has no blocks.
    if (free >= this.#reserveBytes || blocks === 0) return;
    throw new BlobStoreFull(
      `only ${mib(free)} MiB are free for ${this.#directory}, and ${mib(this.#reserveBytes)} MiB are kept for the ` +
        `metadata: give the disk more room`,
    );
  }

  get root(): string {
    return this.#directory;
  }

  path(relative: string): string {
    return join(this.#directory, relative);
  }

  /** The file of a blob if it is there: a regular file, reached through no link of the blob's own. */
  find(locator: Locator): { readonly path: string; readonly size: number } | undefined {
    const path = this.#checked(locator);
    // Of an adopted blob the directory above `data` is a part of its name, too.
    if (isAdoptedLocator(locator) && !lstat(dirname(path))?.isDirectory()) return undefined;
    const stats = lstat(path);
    return stats?.isFile() ? { path, size: stats.size } : undefined;
  }

  /** Moves a complete, durable file to a new place among the blobs, durably. */
  async place(from: string, locator: Locator): Promise<Locator> {
    const to = this.#checkedOwn(locator);
    const directory = dirname(to);
    await this.#ensure(directory);
    try {
      fs.renameSync(this.path(from), to);
    } catch (error) {
      if (codeOf(error) !== "ENOENT") throw error;
      // Someone has tidied the empty directory away since.
      this.#known.delete(directory);
      this.#directories.forget(directory);
      await this.#ensure(directory);
      fs.renameSync(this.path(from), to);
    }
    await this.#settle(to, directory);
    return locator;
  }

  /**
   * Gives a file that `make` makes under the path it is told a place among the blobs, durably. `make` resolves to
   * what makes the content durable, or to `undefined` when it made none.
   */
  async create(
    locator: Locator,
    make: (path: string, directory: string) => Promise<(() => Promise<void>) | undefined>,
  ): Promise<Locator | undefined> {
    const path = this.#checkedOwn(locator);
    const directory = dirname(path);
    await this.#ensure(directory);
    const settleContent = await make(path, directory);
    if (settleContent === undefined) return undefined;
    await this.#settle(path, directory, settleContent());
    return locator;
  }

  /** Makes a blob's file and its name durable, whoever wrote them; its size, or `undefined` where there is none. */
  async sync(locator: Locator): Promise<number | undefined> {
    const found = this.find(locator);
    if (found === undefined) return undefined;
    try {
      const fd = fs.openSync(found.path, fs.constants.O_RDONLY | fs.constants.O_NOFOLLOW);
      try {
        await fsync(fd);
      } finally {
        fs.closeSync(fd);
      }
      await this.#directories.sync(dirname(found.path));
    } catch (error) {
      if (codeOf(error) !== "ENOENT") throw error;
    }
    // Whoever wrote it may have failed to make it durable, and have removed it.
    return this.find(locator)?.size;
  }

  /** Removes a blob's file durably, if there is one. */
  async remove(locator: Locator): Promise<void> {
    const path = this.#checked(locator);
    try {
      if (this.find(locator)) await fs.promises.unlink(path);
      await this.#directories.sync(dirname(path));
    } catch (error) {
      if (codeOf(error) !== "ENOENT") throw error;
    }
  }

  /** Opens a new pack. Never makes what stands above it, as for fan-out directories. */
  createPack(id: string, flags: number, mode: number): number {
    this.requireSame();
    const path = this.path(packPath(id));
    try {
      return fs.openSync(path, flags | fs.constants.O_CREAT | fs.constants.O_EXCL, mode);
    } catch (error) {
      if (codeOf(error) === "ENOENT") throw this.#lost(`${dirname(path)} is gone; `, error);
      throw error;
    }
  }

  /** Makes the names of packs durable. */
  syncPacks(): Promise<void> {
    return this.#directories.sync(this.path(PACKS));
  }

  /** Makes the names of uploads durable. */
  syncUploads(): Promise<void> {
    return this.#directories.sync(this.path(UPLOADS));
  }

  close(): void {
    this.#directories.close();
  }

  #checked(locator: Locator): string {
    if (!isOwnLocator(locator) && !isAdoptedLocator(locator)) {
      throw new Error(`not a locator of this store: ${JSON.stringify(locator)}`);
    }
    return this.path(locator);
  }

  #checkedOwn(locator: Locator): string {
    if (!isOwnLocator(locator)) {
      throw new Error(`not a locator for new bytes: ${JSON.stringify(locator)}`);
    }
    return this.path(locator);
  }

  /**
   * Makes a new name durable, or takes it back, and waits for its content. Both at once: nothing refers to the
   * name before both are, and one commit of the file system's journal may serve them together.
   */
  async #settle(path: string, directory: string, content?: Promise<void>): Promise<void> {
    // At once: whoever makes sure of the file meanwhile looks for it last.
    const takeBack = (error: unknown): never => {
      fs.rmSync(path, { force: true });
      throw error;
    };
    const outcomes = await Promise.allSettled([
      this.#directories.sync(directory).catch(takeBack),
      content?.catch(takeBack),
    ]);
    const failed = outcomes.find((outcome) => outcome.status === "rejected");
    if (failed !== undefined) throw failed.reason;
  }

  #ensure(directory: string): Promise<void> {
    this.requireSame();
    const known = this.#known.get(directory);
    if (known) return known;
    const making = this.#make(directory);
    this.#known.set(directory, making);
    making.catch(() => this.#known.delete(directory));
    return making;
  }

  async #make(directory: string): Promise<void> {
    try {
      // Never what stands above it: a new one in the place of one that is elsewhere would hide that it is gone.
      fs.mkdirSync(directory, { mode: 0o750 });
    } catch (error) {
      if (codeOf(error) === "ENOENT") throw this.#lost(`${dirname(directory)} is gone; `, error);
      if (codeOf(error) !== "EEXIST") throw error;
    }
    // Also where another process made it, which may not have come to this yet.
    await this.#directories.sync(dirname(directory));
  }

  #lost(what: string, cause?: unknown): BlobStoreUnavailable {
    return new BlobStoreUnavailable(
      `the data directory ${this.#directory} is not what was opened at the start (${what}it was moved, replaced or ` +
        `mounted over): put it back, or restart the server`,
      { cause },
    );
  }
}

function mib(bytes: number): number {
  return Math.floor(bytes / 2 ** 20);
}

function lstat(path: string): fs.Stats | undefined {
  return fs.lstatSync(path, { throwIfNoEntry: false });
}
