/**
 * Writing past the page cache (O_DIRECT): a copy by the kernel and the write-back are spared, which is half of
 * the processor time of a large write. Blocks at either end that are not written whole go through the cache.
 */
import fs from "node:fs";
import { alignedDown, alignedUp } from "./aligned.ts";
import { writeWholeAsync } from "./whole-io.ts";

/** Fewer bytes are quicker in the page cache than on the disk. */
const DIRECT_MIN = 256 << 10;
/** `undefined` on systems without it. */
const O_DIRECT: number | undefined = fs.constants.O_DIRECT;
/** What a file system says that cannot do it, when asked to open or only when asked to write. */
const UNSUPPORTED: ReadonlySet<string | undefined> = new Set(["EINVAL", "EOPNOTSUPP", "ENOTSUP"]);

export class DirectFile {
  readonly #fd: number;
  /** The same file, opened when first needed; `undefined` where that is of no use. */
  #direct: number | "untried" | undefined = O_DIRECT === undefined ? undefined : "untried";

  /** `fd` is open for writing and stays the caller's. */
  constructor(fd: number) {
    this.#fd = fd;
  }

  /** Whether large writes have gone past the page cache, and will. */
  get isDirect(): boolean {
    return typeof this.#direct === "number";
  }

  /**
   * Writes all bytes at `position`, off the event loop, in order: a process that dies leaves the first of them.
   * The address of `bytes` and `position` must be equally far from a block boundary. One write at a time.
   */
  async write(bytes: Uint8Array, position: number): Promise<void> {
    const end = position + bytes.byteLength;
    const [from, to] = [alignedUp(position), alignedDown(end)];
    if (to - from < DIRECT_MIN || this.#opened() === undefined) {
      return writeWholeAsync(this.#fd, bytes, position);
    }
    await writeWholeAsync(this.#fd, bytes.subarray(0, from - position), position);
    await this.#writeBlocks(bytes.subarray(from - position, to - position), from);
    await writeWholeAsync(this.#fd, bytes.subarray(to - position), to);
  }

  close(): void {
    if (typeof this.#direct === "number") fs.closeSync(this.#direct);
    this.#direct = undefined;
  }

  async #writeBlocks(blocks: Uint8Array, position: number): Promise<void> {
    const fd = this.#opened();
    let done = 0;
    try {
      // What a short write leaves of a block, and a disk that is full, are the page cache's to see to.
      if (fd !== undefined) done = await writeOnce(fd, blocks, position);
    } catch (error) {
      if (!UNSUPPORTED.has((error as ErrnoException).code)) throw error;
      this.close();
    }
    await writeWholeAsync(this.#fd, blocks.subarray(done), position + done);
  }

  #opened(): number | undefined {
    if (this.#direct !== "untried") return this.#direct;
    this.#direct = undefined;
    try {
      const flags = fs.constants.O_WRONLY | (O_DIRECT ?? 0);
      this.#direct = fs.openSync(`/proc/self/fd/${this.#fd}`, flags);
    } catch {
      // Not this file system, or no /proc, or no descriptor left: the page cache does as well.
    }
    return this.#direct;
  }
}

function writeOnce(fd: number, bytes: Uint8Array, position: number): Promise<number> {
  return new Promise((resolve, reject) => {
    fs.write(fd, bytes, 0, bytes.byteLength, position, (error, written) =>
      error ? reject(error) : resolve(written),
    );
  });
}
