/**
 * Lines to a file descriptor that several processes share, without ever blocking the event loop. Each write
 * carries whole lines and, where the reader is a pipe, at most the bytes that a pipe takes atomically, so
 * lines of two processes never mix. When the reader falls behind, lines are dropped and counted.
 */
import { fstatSync, write } from "node:fs";

/** PIPE_BUF of Linux: pipe(7) promises that a write of so many bytes is not torn. */
const PIPE_WRITE_BYTES = 4096;
const FILE_WRITE_BYTES = 65_536;
const WAITING_BYTES_MAX = 1 << 20;
/** A line waits at most so long for company. */
const GATHER_MS = 20;
const RETRY_MS = 20;

interface Chunk {
  text: string;
  bytes: number;
}

export class LineSink {
  /** Longest line, its newline included, that is sure to stay whole; longer ones are the caller's to shorten. */
  readonly lineBytesMax: number = PIPE_WRITE_BYTES;
  readonly #fd: number;
  readonly #chunkBytes: number;
  readonly #waiting: Chunk[] = [];
  readonly #flushed: (() => void)[] = [];
  #waitingBytes = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #writing = false;
  #dropped = 0;

  constructor(fd: number) {
    this.#fd = fd;
    this.#chunkBytes = fstatSync(fd).isFile() ? FILE_WRITE_BYTES : PIPE_WRITE_BYTES;
  }

  /** Lines dropped since the last call. */
  takeDropped(): number {
    const dropped = this.#dropped;
    this.#dropped = 0;
    return dropped;
  }

  /** `line` ends with a newline and has `bytes` bytes in UTF-8. False when it was dropped. */
  write(line: string, bytes: number): boolean {
    if (this.#waitingBytes + bytes > WAITING_BYTES_MAX) {
      this.#dropped++;
      return false;
    }
    this.#waitingBytes += bytes;
    const chunk = this.#waiting.at(-1);
    if (chunk && chunk.bytes + bytes <= this.#chunkBytes) {
      chunk.text += line;
      chunk.bytes += bytes;
    } else this.#waiting.push({ text: line, bytes });
    if (!this.#writing) {
      if (this.#waiting.length > 1) this.#next();
      else this.#timer ??= setTimeout(() => this.#next(), GATHER_MS);
    }
    return true;
  }

  /** Resolves when everything is written, or after `ms`, whichever is first. */
  async flush(ms: number): Promise<void> {
    if (this.#waiting.length === 0 && !this.#writing) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const limit = setTimeout(resolve, ms);
    this.#flushed.push(resolve);
    if (!this.#writing) this.#next();
    await promise;
    clearTimeout(limit);
  }

  #next(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const chunk = this.#waiting.shift();
    this.#writing = chunk !== undefined;
    if (chunk) this.#send(Buffer.from(chunk.text), 0);
    else for (const resolve of this.#flushed.splice(0)) resolve();
  }

  #send(bytes: Buffer, from: number): void {
    write(this.#fd, bytes, from, bytes.length - from, null, (error, written) => {
      if (error?.code === "EAGAIN") {
        setTimeout(() => this.#send(bytes, from), RETRY_MS);
      } else if (error === null && from + written < bytes.length) {
        this.#send(bytes, from + written);
      } else {
        if (error) this.#dropped++;
        this.#waitingBytes -= bytes.length;
        this.#sent();
      }
    });
  }

  #sent(): void {
    this.#writing = false;
    if (this.#waiting.length > 1 || this.#flushed.length > 0) this.#next();
    else if (this.#waiting.length > 0) this.#timer = setTimeout(() => this.#next(), GATHER_MS);
  }
}
