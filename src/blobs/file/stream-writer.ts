/**
 * One stream in the hash thread. Chunks are gathered in aligned buffers; one is filled and hashed while the one
 * before is being written. One write at a time, so that the file is never longer than its right bytes.
 */
import fs from "node:fs";
import { BLOCK } from "../../base/aligned.ts";
import { DirectFile } from "../../base/direct-file.ts";
import type { Algorithm } from "../../oci/digest.ts";
import type { BufferPool } from "./buffer-pool.ts";

export interface Running {
  readonly algorithm: Algorithm;
  readonly hasher: Bun.CryptoHasher;
}

export interface StreamEvents {
  written(size: number): void;
  failed(size: number, error: unknown): void;
}

/** Size of the pool's buffers. */
export const BUFFER = 1 << 20;
/** Bytes read again before other streams get their turn. */
const READ_STEP = 1 << 20;

export class StreamWriter {
  readonly #fd: number;
  readonly #file: DirectFile;
  readonly #pool: BufferPool;
  readonly #events: StreamEvents;
  /** Chunks not yet in a buffer, and their bytes. */
  #queue: Uint8Array<ArrayBuffer>[] = [];
  #queued = 0;
  /** Where the first of them goes in the file. */
  #next: number;
  /** Bytes the file holds. */
  #size: number;
  #flush = false;
  #hasEnded = false;
  #isFilling = false;
  /** The last write, which begins when the one before has ended. Never rejects. */
  #writing = Promise.resolve();
  #running: Running | undefined;

  constructor(
    file: { readonly fd: number; readonly size: number },
    running: Running | undefined,
    pool: BufferPool,
    events: StreamEvents,
  ) {
    this.#fd = file.fd;
    this.#file = new DirectFile(file.fd);
    this.#size = file.size;
    this.#next = file.size;
    this.#running = running;
    this.#pool = pool;
    this.#events = events;
  }

  /** Bytes the file holds. */
  get size(): number {
    return this.#size;
  }

  /** The hash of exactly the bytes the file holds, when nothing is under way. */
  get running(): Running | undefined {
    return this.#running;
  }

  /**
   * Takes the chunks' buffers. What does not fill a buffer waits for more, or for a `flush`. What a write to the
   * file meets is told as an event.
   */
  async write(chunks: readonly Uint8Array<ArrayBuffer>[], flush: boolean): Promise<void> {
    if (this.#hasEnded) return;
    for (const chunk of chunks) {
      this.#queue.push(chunk);
      this.#queued += chunk.byteLength;
    }
    this.#flush ||= flush;
    if (!this.#isFilling) await this.#fillBuffers();
  }

  /** Hex digest of the bytes the file holds, when nothing is under way. */
  async digest(algorithm: Algorithm): Promise<string> {
    if (this.#running?.algorithm !== algorithm) {
      this.#running = { algorithm, hasher: await hashAgain(this.#fd, this.#size, algorithm) };
    }
    // A copy is asked, because the hash may run on in a later holder's hands.
    return this.#running.hasher.copy().digest("hex");
  }

  /** Drops what is not written yet. Resolves when the file is not touched any more. */
  async end(): Promise<void> {
    this.#drop();
    await this.#writing;
    this.#file.close();
  }

  async #fillBuffers(): Promise<void> {
    this.#isFilling = true;
    try {
      while (this.#isDue()) {
        const buffer = await this.#pool.take();
        const before = this.#writing;
        this.#writing = this.#writeAfter(before, buffer, this.#next, this.#fill(buffer));
        // Two buffers a stream: hashing further ahead would only keep the thread from starting the next write.
        await before;
      }
    } finally {
      this.#isFilling = false;
    }
  }

  #isDue(): boolean {
    return this.#queued > 0 && (this.#flush || (this.#next % BLOCK) + this.#queued >= BUFFER);
  }

  /** Moves what is queued into a buffer, as far from a block boundary there as in the file, and hashes it. */
  #fill(buffer: Uint8Array<ArrayBuffer>): Uint8Array {
    const start = this.#next % BLOCK;
    let end = start;
    while (end < buffer.byteLength) {
      const chunk = this.#queue.shift();
      if (!chunk) break;
      const part = chunk.subarray(0, buffer.byteLength - end);
      buffer.set(part, end);
      this.#running?.hasher.update(part);
      end += part.byteLength;
      if (part.byteLength < chunk.byteLength) this.#queue.unshift(chunk.subarray(part.byteLength));
      // Frees the memory now: the collector sees only the small view and would let it pile up.
      else chunk.buffer.transfer(0);
    }
    this.#next += end - start;
    this.#queued -= end - start;
    if (this.#queued === 0) this.#flush = false;
    return buffer.subarray(start, end);
  }

  async #writeAfter(
    before: Promise<void>,
    buffer: Uint8Array<ArrayBuffer>,
    position: number,
    bytes: Uint8Array,
  ): Promise<void> {
    try {
      await before;
      if (this.#hasEnded || bytes.byteLength === 0) return;
      await this.#file.write(bytes, position);
      this.#size = position + bytes.byteLength;
      this.#events.written(this.#size);
    } catch (error) {
      this.#fail(error);
    } finally {
      this.#pool.giveBack(buffer);
    }
  }

  #fail(error: unknown): void {
    this.#drop();
    // It has run ahead of what the file holds.
    this.#running = undefined;
    this.#events.failed(this.#size, error);
  }

  #drop(): void {
    this.#hasEnded = true;
    this.#queue = [];
    this.#queued = 0;
  }
}

async function hashAgain(
  fd: number,
  size: number,
  algorithm: Algorithm,
): Promise<Bun.CryptoHasher> {
  const hasher = new Bun.CryptoHasher(algorithm);
  const buffer = new Uint8Array(Math.min(READ_STEP, size));
  for (let at = 0; at < size;) {
    const length = Math.min(buffer.byteLength, size - at);
    const read = fs.readSync(fd, buffer, 0, length, at);
    if (read === 0) throw new Error("the upload's file is shorter than it was");
    hasher.update(buffer.subarray(0, read));
    at += read;
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
  return hasher;
}
