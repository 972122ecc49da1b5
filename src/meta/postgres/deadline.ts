/** A moment by which something must be over, on the process's own clock. */
export class Deadline {
  readonly #at: number;

  constructor(ms: number) {
    this.#at = performance.now() + ms;
  }

  /** Milliseconds left; 0 when it has passed. */
  get left(): number {
    return Math.max(0, this.#at - performance.now());
  }

  get passed(): boolean {
    return this.left === 0;
  }

  /** What `promise` gives, or the error that `late` makes once the deadline passes; `promise` is then left alone. */
  async race<T>(promise: Promise<T>, late: () => Error): Promise<T> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const expired = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(late()), this.left);
    });
    try {
      return await Promise.race([promise, expired]);
    } finally {
      clearTimeout(timer);
    }
  }
}
