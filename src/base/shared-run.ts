/** Work that many wait for and that need not be done for each of them: an fsync. */
export class SharedRun {
  readonly #work: () => Promise<void>;
  #running: Promise<void> | undefined;
  #next: Promise<void> | undefined;

  constructor(work: () => Promise<void>) {
    this.#work = work;
  }

  /**
   * Resolves, or rejects, with a run of the work that began after this call. All calls of one turn of the event
   * loop, and all that come while a run is under way, wait for the same one.
   */
  run(): Promise<void> {
    this.#next ??= this.#begin(this.#running);
    return this.#next;
  }

  async #begin(before: Promise<void> | undefined): Promise<void> {
    if (before === undefined) await new Promise<void>((resolve) => setImmediate(resolve));
    else await before.catch(() => undefined);
    const own = this.#next;
    this.#next = undefined;
    this.#running = own;
    try {
      await this.#work();
    } finally {
      if (this.#running === own) this.#running = undefined;
    }
  }
}
