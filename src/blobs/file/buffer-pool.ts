/** The hash thread's memory for writes under way: a bounded number of aligned buffers for all streams together. */
import { alignedBytes } from "../../base/aligned.ts";

export class BufferPool {
  readonly #size: number;
  readonly #free: Uint8Array<ArrayBuffer>[] = [];
  readonly #waiting: ((buffer: Uint8Array<ArrayBuffer>) => void)[] = [];
  /** How many more may be made. */
  #left: number;

  /** At most `count` buffers of `size` bytes, made when first needed. */
  constructor(count: number, size: number) {
    this.#left = count;
    this.#size = size;
  }

  /** A buffer, when there is one: first come, first served. It must be given back. */
  take(): Promise<Uint8Array<ArrayBuffer>> {
    const buffer = this.#free.pop();
    if (buffer) return Promise.resolve(buffer);
    if (this.#left > 0) {
      this.#left--;
      return Promise.resolve(alignedBytes(this.#size));
    }
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
    });
  }

  giveBack(buffer: Uint8Array<ArrayBuffer>): void {
    const next = this.#waiting.shift();
    if (next) next(buffer);
    else this.#free.push(buffer);
  }
}
