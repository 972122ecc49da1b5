/** Ends work of others that stands still. */
export class Patience {
  readonly #abort = new AbortController();
  #timer: ReturnType<typeof setTimeout> | undefined;

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** From now on, it has so many milliseconds until the next call. */
  expect(ms: number, what: string): void {
    this.rest();
    this.#timer = setTimeout(() => this.end(new Error(`${what} for ${ms / 1000} s`)), ms);
  }

  /** Nothing is expected of it now. */
  rest(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  /** Ends the work at once. */
  end(reason: Error): void {
    this.rest();
    this.#abort.abort(reason);
  }
}
