/** An upload that this process holds by the lock on its file. */
import fs from "node:fs";
import { close, fsync } from "../../base/fsync.ts";
import { readWhole, writeWhole } from "../../base/whole-io.ts";
import { algorithmOf, makeDigest, type Algorithm, type Digest } from "../../oci/digest.ts";
import type { PlacedUpload } from "../placed.ts";
import { DigestMismatch, type Locator, type StoredBlob, type UploadProgress } from "../port.ts";
import { storeError } from "./errors.ts";
import type { HashStream } from "./hash-stream.ts";
import type { HashThread } from "./hash-thread.ts";
import { uploadPath, type Layout } from "./layout.ts";
import { digestIn, isOwnLocator, newLocator } from "./locator.ts";

/** An upload of at most this many bytes is gathered in memory and hashed in place, without the thread. */
export const SMALL = 64 << 10;
/** After so many bytes it is looked again whether there is room. */
const ROOM_BYTES = 16 << 20;
/** Of blobs and of uploads, which become blobs. */
export const FILE_MODE = 0o640;

export interface HeldUpload {
  readonly id: string;
  /** Open and locked; the upload closes it. */
  readonly fd: number;
  /** Bytes of earlier holders. */
  readonly size: number;
  readonly algorithm: Algorithm;
}

export class FileUpload implements PlacedUpload {
  readonly #held: HeldUpload;
  readonly #path: string;
  readonly #layout: Layout;
  readonly #thread: HashThread;
  /** All bytes of this holder, while the upload is small. */
  #pending: Uint8Array<ArrayBuffer>[] = [];
  #size: number;
  #stream: HashStream | undefined;
  /** A failure to write that the caller knows of, and may go on after, with the bytes kept. */
  #told: Error | undefined;
  #ended = false;
  /** The size at which it is looked next whether there is room. */
  #roomUntil = 0;

  constructor(held: HeldUpload, layout: Layout, thread: HashThread) {
    this.#held = held;
    this.#size = held.size;
    this.#layout = layout;
    this.#thread = thread;
    this.#path = layout.path(uploadPath(held.id));
  }

  get size(): number {
    return this.#stream?.failure ? this.#stream.written : this.#size;
  }

  async write(chunk: Uint8Array<ArrayBuffer>): Promise<void> {
    this.#assertHeld();
    if (this.#told !== undefined) throw this.#told;
    if (chunk.byteLength === 0) return;
    if (this.#size >= this.#roomUntil) {
      this.#layout.requireRoom();
      this.#roomUntil = this.#size + ROOM_BYTES;
    }
    this.#size += chunk.byteLength;
    this.#pending.push(chunk);
    if (this.#size <= SMALL) return;
    const stream = this.#streaming();
    const chunks = this.#pending;
    this.#pending = [];
    try {
      // All are handed over before the first wait, so that writes of a caller who does not wait keep order.
      await Promise.all(chunks.map((next) => stream.write(next)));
    } catch (error) {
      throw this.#tell(error);
    }
  }

  suspend(note?: (progress: UploadProgress) => Promise<void>): Promise<UploadProgress> {
    return this.#finish(async () => {
      const { id, fd, algorithm } = this.#held;
      const digest = await this.#complete(algorithm);
      const size = this.size;
      const proof = contentKey(id, fd);
      if (size === 0) {
        fs.unlinkSync(this.#path);
      } else {
        await this.#durable(this.#layout.syncUploads());
        this.#stream?.end(proof);
        this.#stream = undefined;
      }
      const progress = { size, digest, proof };
      await note?.(progress);
      return progress;
    });
  }

  commit(digest: Digest, proven?: UploadProgress): Promise<StoredBlob> {
    return this.#commit(digest, newLocator(digest), proven);
  }

  async commitAs(locator: Locator, proven?: UploadProgress): Promise<StoredBlob> {
    const digest = isOwnLocator(locator) ? digestIn(locator) : undefined;
    if (digest === undefined) throw new Error(`not a locator for new bytes: ${locator}`);
    return this.#commit(digest, locator, proven);
  }

  abort(): Promise<void> {
    return this.#finish(async () => {
      await this.#stream?.drop();
      await fs.promises.unlink(this.#path);
    });
  }

  #commit(
    digest: Digest,
    locator: Locator,
    proven: UploadProgress | undefined,
  ): Promise<StoredBlob> {
    return this.#finish(async () => {
      if (this.#told !== undefined) throw this.#told;
      const size = this.#size;
      const actual = this.#isProof(proven, digest)
        ? proven.digest
        : await this.#complete(algorithmOf(digest), digest);
      if (actual !== digest) {
        await fs.promises.unlink(this.#path);
        throw new DigestMismatch(digest, actual);
      }
      return { locator: await this.#layout.place(uploadPath(this.#held.id), locator), size };
    });
  }

  /** Whether an earlier holder has made exactly these bytes durable and hashed them so. */
  #isProof(proven: UploadProgress | undefined, digest: Digest): proven is UploadProgress {
    const { id, fd, size } = this.#held;
    return (
      proven?.size === size &&
      this.#size === size &&
      proven.proof === contentKey(id, fd) &&
      algorithmOf(proven.digest) === algorithmOf(digest)
    );
  }

  /** Hashes all bytes and makes them durable; the latter is spared where `wanted` is not their digest. */
  async #complete(algorithm: Algorithm, wanted?: Digest): Promise<Digest> {
    const { fd } = this.#held;
    if (!this.#stream && this.#size <= SMALL) {
      const digest = this.#hashSmall(algorithm);
      if (wanted !== undefined && digest !== wanted) return digest;
      this.#writeSmall();
      await this.#durable(fsync(fd));
      return digest;
    }
    const stream = this.#streaming();
    if (this.#told === undefined) await stream.flush();
    // The descriptor may be closed only when neither uses it any more.
    const [hashed, synced] = await Promise.allSettled([
      stream.digest(algorithm),
      this.#durable(fsync(fd)),
    ]);
    if (hashed.status === "rejected") throw hashed.reason;
    if (synced.status === "rejected") throw synced.reason;
    return hashed.value;
  }

  /** After a failed fsync the kernel calls the lost pages clean, and the next one succeeds: keep nothing. */
  async #durable(syncing: Promise<void>): Promise<void> {
    try {
      await syncing;
    } catch (error) {
      fs.rmSync(this.#path, { force: true });
      throw error;
    }
  }

  #hashSmall(algorithm: Algorithm): Digest {
    const hasher = new Bun.CryptoHasher(algorithm);
    const { fd, size } = this.#held;
    if (size > 0) hasher.update(readWhole(fd, size));
    for (const chunk of this.#pending) hasher.update(chunk);
    return makeDigest(algorithm, hasher.digest("hex"));
  }

  #writeSmall(): void {
    const { fd, size } = this.#held;
    let at = size;
    try {
      for (const chunk of this.#pending) at += writeWhole(fd, chunk, at);
    } catch (error) {
      cutBack(fd, size);
      throw error;
    }
  }

  #streaming(): HashStream {
    const { id, fd, size, algorithm } = this.#held;
    this.#stream ??= this.#thread.begin({ fd, size, algorithm, key: contentKey(id, fd) });
    return this.#stream;
  }

  #tell(error: unknown): Error {
    if (this.#stream?.failure) cutBack(this.#held.fd, this.#stream.written);
    this.#told ??= storeError(error);
    return this.#told;
  }

  #assertHeld(): void {
    if (this.#ended) throw new Error(`upload ${this.#held.id} has ended`);
  }

  /** Ends the hold, whatever comes of the work. */
  async #finish<T>(work: () => Promise<T>): Promise<T> {
    this.#assertHeld();
    this.#ended = true;
    try {
      return await work();
    } catch (error) {
      if (this.#stream?.failure) throw this.#tell(error);
      throw storeError(error);
    } finally {
      this.#stream?.end();
      if (this.#size <= SMALL) fs.closeSync(this.#held.fd);
      else await close(this.#held.fd);
    }
  }
}

/** Changes whenever the file's bytes do, whoever changes them. */
function contentKey(id: string, fd: number): string {
  const { ino, mtimeNs, size } = fs.fstatSync(fd, { bigint: true });
  return `${id} ${ino} ${mtimeNs} ${size}`;
}

/** Removes what a failed write may have left behind the good bytes. */
function cutBack(fd: number, size: number): void {
  try {
    fs.ftruncateSync(fd, size);
  } catch {
    // The failed write says more; what is left is the beginning of the right bytes.
  }
}
