/**
 * The BlobStore on plain files. What came in an upload, and what is large, has a file of its own: write → fsync →
 * name among the blobs → fsync of the directory. Small blobs put whole are records in packs.
 */
import fs from "node:fs";
import { resolve } from "node:path";
import { close } from "../../base/fsync.ts";
import { tryLock } from "../../base/flock.ts";
import { readWhole, readWholeAsync } from "../../base/whole-io.ts";
import type { Algorithm, Digest } from "../../oci/digest.ts";
import type { PlacedStore, PlacedUpload } from "../placed.ts";
import {
  BlobStoreUnavailable,
  UploadBusy,
  type BlobBody,
  type ByteRange,
  type ListedBlob,
  type Locator,
  type StoredBlob,
} from "../port.ts";
import { codeOf, guarded } from "./errors.ts";
import { HashThread } from "./hash-thread.ts";
import { Layout, uploadPath } from "./layout.ts";
import { listBlobs, listUploads } from "./listing.ts";
import { digestOfLocator, isOwnLocator, newLocator, packPlace } from "./locator.ts";
import { PackFiles } from "./pack-files.ts";
import { PACK_BYTES, PackWriter } from "./pack-writer.ts";
import { putFile } from "./put.ts";
import { FILE_MODE, FileUpload, SMALL } from "./upload.ts";

export interface FileStoreOptions {
  /** The data directory, made where it is missing. */
  readonly directory: string;
  /** A pack that has come to this many bytes is followed by a new one. */
  readonly packBytes?: number;
  /** With fewer bytes free it takes no more blobs, for the sake of what else is kept beside them; default 0. */
  readonly reserveBytes?: number;
}

/** Opens the store. Throws `BlobStoreUnavailable` with the remedy where the directory cannot be written. */
export async function openFileStore(options: FileStoreOptions): Promise<PlacedStore> {
  const layout = await Layout.open(resolve(options.directory), options.reserveBytes);
  return new FileStore(layout, options.packBytes ?? PACK_BYTES);
}

const { O_RDONLY, O_RDWR, O_CREAT, O_NOFOLLOW, O_NONBLOCK } = fs.constants;

class FileStore implements PlacedStore {
  readonly #layout: Layout;
  readonly #packs: PackFiles;
  readonly #writer: PackWriter;
  readonly #thread = new HashThread();

  constructor(layout: Layout, packBytes: number) {
    this.#layout = layout;
    this.#packs = new PackFiles(layout);
    this.#writer = new PackWriter(layout, this.#packs, packBytes);
  }

  stat(locator: Locator): Promise<number | undefined> {
    return guarded(() => {
      const place = packPlace(locator);
      return place ? this.#packs.stat(place) : this.#layout.find(locator)?.size;
    });
  }

  open(locator: Locator, size: number, range?: ByteRange): Promise<BlobBody | undefined> {
    return guarded(() => {
      const place = packPlace(locator);
      // A record's blocks may be given back while somebody reads: it is read at once, and checked.
      if (place) return sliced(this.#packs.read(place, size), range);
      const found = this.#layout.find(locator);
      if (found?.size !== size) return undefined;
      const file = Bun.file(found.path);
      return range ? file.slice(range.start, range.end + 1) : file;
    });
  }

  read(locator: Locator, size: number): Promise<Uint8Array<ArrayBuffer> | undefined> {
    return guarded(async () => {
      const place = packPlace(locator);
      if (place) return this.#packs.read(place, size);
      const found = this.#layout.find(locator);
      if (found?.size !== size) return undefined;
      const fd = openIfThere(found.path, O_RDONLY | O_NOFOLLOW);
      if (fd === undefined) return undefined;
      try {
        return size <= SMALL ? readWhole(fd, size) : await readWholeAsync(fd, size);
      } finally {
        fs.closeSync(fd);
      }
    });
  }

  put(digest: Digest, bytes: Uint8Array<ArrayBuffer>): Promise<StoredBlob> {
    return guarded(async () => {
      this.#layout.requireRoom();
      const size = bytes.byteLength;
      const isSmall = size <= SMALL;
      const locator = isSmall
        ? await this.#writer.put(digest, bytes)
        : await putFile(this.#layout, newLocator(digest), bytes);
      return { locator, size };
    });
  }

  newLocator(digest: Digest, key?: string): Locator {
    return newLocator(digest, key);
  }

  digestOf(locator: Locator): Digest | undefined {
    return digestOfLocator(locator);
  }

  place(locator: Locator, bytes: Uint8Array<ArrayBuffer>): Promise<StoredBlob> {
    return guarded(async () => {
      const size = bytes.byteLength;
      const isThere = isOwnLocator(locator) && (await this.#layout.sync(locator)) === size;
      if (!isThere) {
        this.#layout.requireRoom();
        await putFile(this.#layout, locator, bytes);
      }
      return { locator, size };
    });
  }

  sync(locator: Locator): Promise<number | undefined> {
    return guarded(() => {
      const place = packPlace(locator);
      // A record can be named by nobody before it is durable.
      return place ? this.#packs.stat(place) : this.#layout.sync(locator);
    });
  }

  upload(id: string, algorithm: Algorithm): Promise<PlacedUpload> {
    return guarded(() => {
      this.#layout.requireSame();
      const fd = this.#hold(id, O_RDWR | O_CREAT);
      if (fd === undefined) throw new BlobStoreUnavailable(`upload ${id} cannot be created`);
      const { size } = fs.fstatSync(fd);
      return new FileUpload({ id, fd, size, algorithm }, this.#layout, this.#thread);
    });
  }

  uploadSize(id: string): Promise<number | undefined> {
    return guarded(() => {
      const path = this.#layout.path(uploadPath(id));
      const stats = fs.lstatSync(path, { throwIfNoEntry: false });
      return stats?.isFile() && stats.size > 0 ? stats.size : undefined;
    });
  }

  discard(id: string): Promise<void> {
    return guarded(async () => {
      const fd = this.#hold(id, O_RDWR);
      if (fd === undefined) return;
      try {
        await fs.promises.unlink(this.#layout.path(uploadPath(id)));
      } finally {
        await close(fd);
      }
    });
  }

  uploads(): AsyncIterable<{ readonly id: string; readonly modified: number }> {
    return listUploads(this.#layout);
  }

  list(after?: Locator): AsyncIterable<ListedBlob> {
    return listBlobs(this.#layout, after ?? "");
  }

  delete(locator: Locator): Promise<void> {
    return guarded(() => {
      const place = packPlace(locator);
      return place ? this.#packs.delete(place) : this.#layout.remove(locator);
    });
  }

  space(): Promise<{ readonly free: number; readonly total: number }> {
    return guarded(async () => {
      this.#layout.requireSame();
      const { bavail, blocks, bsize } = await fs.promises.statfs(this.#layout.root);
      return { free: bavail * bsize, total: blocks * bsize };
    });
  }

  async close(): Promise<void> {
    await this.#thread.close();
    await this.#writer.close();
    this.#layout.close();
  }

  /** Opens and locks an upload's file; `undefined` when there is none and `flags` make none. */
  #hold(id: string, flags: number): number | undefined {
    const path = this.#layout.path(uploadPath(id));
    for (;;) {
      const fd = openIfThere(path, flags | O_NOFOLLOW | O_NONBLOCK);
      if (fd === undefined) return undefined;
      let isHeld = false;
      try {
        if (!tryLock(fd)) throw new UploadBusy(`upload ${id} is in use by another request`);
        // An earlier holder may have moved or removed the file between our open and our lock.
        isHeld = isStillAt(path, fd);
        if (isHeld) return fd;
      } finally {
        if (!isHeld) fs.closeSync(fd);
      }
    }
  }
}

function sliced(
  bytes: Uint8Array<ArrayBuffer> | undefined,
  range: ByteRange | undefined,
): Blob | undefined {
  return bytes && new Blob([range ? bytes.subarray(range.start, range.end + 1) : bytes]);
}

function openIfThere(path: string, flags: number): number | undefined {
  try {
    return fs.openSync(path, flags, FILE_MODE);
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw error;
  }
}

function isStillAt(path: string, fd: number): boolean {
  const opened = fs.fstatSync(fd, { bigint: true });
  if (!opened.isFile()) throw new Error(`${path} is not a regular file`);
  const named = fs.lstatSync(path, { bigint: true, throwIfNoEntry: false });
  return named?.ino === opened.ino && named.dev === opened.dev;
}
