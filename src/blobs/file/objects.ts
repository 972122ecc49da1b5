/**
 * The ObjectStore on a directory: write under a temporary name → fsync → name → fsync of the directory. An object is
 * a file at its own name; the temporary ones lie in a folder that no name can mean.
 */
import fs from "node:fs";
import { dirname, join, resolve } from "node:path";
import { randomHex } from "../../base/clock.ts";
import { DirectoryCache, fsync, makeDirectory } from "../../base/fsync.ts";
import { writeWholeAsync } from "../../base/whole-io.ts";
import type { ObjectInfo, ObjectStore, PutOptions } from "../objects.ts";
import { BlobStoreUnavailable } from "../port.ts";
import { codeOf, guarded } from "./errors.ts";

const TEMPORARY = "~new";
const DIRECTORIES_OPEN = 16;
/** No write takes so long: what is older was left by a process that died. */
const LEFTOVER_MS = 3_600_000;
const PART = /^(?!\.\.?$)[A-Za-z0-9._-]+$/;
const ABSENT = new Set(["ENOENT", "ENOTDIR", "EISDIR"]);

/** Opens the store, whose directory is made where it is missing. Throws as the blob port does. */
export async function openFileObjects(directory: string): Promise<ObjectStore> {
  const root = resolve(directory);
  await guarded(async () => {
    await makeDirectory(join(root, TEMPORARY));
    removeLeftovers(join(root, TEMPORARY));
  });
  return new FileObjects(root);
}

class FileObjects implements ObjectStore {
  readonly #root: string;
  readonly #directories = new DirectoryCache(DIRECTORIES_OPEN);

  constructor(root: string) {
    this.#root = root;
  }

  put(
    name: string,
    bytes: Uint8Array<ArrayBuffer>,
    { ifAbsent = false }: PutOptions = {},
  ): Promise<boolean> {
    return guarded(async () => {
      const path = this.#path(name);
      const temporary = join(this.#root, TEMPORARY, randomHex(12));
      try {
        await writeDurably(temporary, bytes, this.#root);
        await this.#makeParents(name);
        if (!ifAbsent) await fs.promises.rename(temporary, path);
        else if (!(await linked(temporary, path))) return false;
        await this.#directories.sync(dirname(path));
        return true;
      } finally {
        await fs.promises.rm(temporary, { force: true });
      }
    });
  }

  get(name: string): Promise<Uint8Array<ArrayBuffer> | undefined> {
    return guarded(async () => {
      try {
        return new Uint8Array(await fs.promises.readFile(this.#path(name)));
      } catch (error) {
        if (ABSENT.has(codeOf(error) ?? "")) return undefined;
        throw error;
      }
    });
  }

  async *list(prefix: string): AsyncGenerator<ObjectInfo, void, void> {
    if (prefix !== "" && !prefix.endsWith("/"))
      throw new RangeError(`a prefix is empty or ends with "/", unlike ${JSON.stringify(prefix)}`);
    const folder = prefix.slice(0, -1);
    if (prefix !== "") this.#path(folder);
    yield* this.#walk(folder);
  }

  delete(name: string): Promise<void> {
    return guarded(async () => {
      const path = this.#path(name);
      try {
        await fs.promises.unlink(path);
        await this.#directories.sync(dirname(path));
      } catch (error) {
        if (!ABSENT.has(codeOf(error) ?? "")) throw error;
      }
    });
  }

  async *#walk(folder: string): AsyncGenerator<ObjectInfo, void, void> {
    const entries = await guarded(async () => {
      try {
        return await fs.promises.readdir(join(this.#root, folder), { withFileTypes: true });
      } catch (error) {
        if (ABSENT.has(codeOf(error) ?? "")) return [];
        throw error;
      }
    });
    for (const entry of entries) {
      if (!PART.test(entry.name)) continue;
      const name = folder === "" ? entry.name : `${folder}/${entry.name}`;
      if (entry.isDirectory()) yield* this.#walk(name);
      if (!entry.isFile()) continue;
      const stats = fs.lstatSync(join(this.#root, name), { throwIfNoEntry: false });
      if (stats) yield { name, size: stats.size, modified: stats.mtimeMs };
    }
  }

  /** The folders of a name, each durable; never the root, whose absence means that it is elsewhere. */
  async #makeParents(name: string): Promise<void> {
    let path = this.#root;
    for (const part of name.split("/").slice(0, -1)) {
      const parent = path;
      path = join(path, part);
      if (fs.existsSync(path)) continue;
      try {
        fs.mkdirSync(path, { mode: 0o750 });
      } catch (error) {
        if (codeOf(error) !== "EEXIST") throw error;
      }
      await this.#directories.sync(parent);
    }
  }

  #path(name: string): string {
    if (!name.split("/").every((part) => PART.test(part)))
      throw new RangeError(`${JSON.stringify(name)} is not the name of an object`);
    return join(this.#root, name);
  }
}

async function writeDurably(path: string, bytes: Uint8Array, root: string): Promise<void> {
  let fd: number;
  try {
    fd = fs.openSync(path, "wx", 0o640);
  } catch (error) {
    if (codeOf(error) !== "ENOENT") throw error;
    throw new BlobStoreUnavailable(
      `${root} was moved, replaced or mounted over: put it back, or restart the server`,
      { cause: error },
    );
  }
  try {
    await writeWholeAsync(fd, bytes, 0);
    await fsync(fd);
  } finally {
    fs.closeSync(fd);
  }
}

/** Gives a file a further name, unless it is taken: false. */
async function linked(from: string, to: string): Promise<boolean> {
  try {
    await fs.promises.link(from, to);
    return true;
  } catch (error) {
    if (codeOf(error) === "EEXIST") return false;
    throw error;
  }
}

function removeLeftovers(directory: string): void {
  for (const name of fs.readdirSync(directory)) {
    const path = join(directory, name);
    const stats = fs.lstatSync(path, { throwIfNoEntry: false });
    if (stats && stats.mtimeMs < Date.now() - LEFTOVER_MS) fs.rmSync(path, { force: true });
  }
}
