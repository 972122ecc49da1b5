/** A loop that waits for something to do. */
export class Wake {
  #resolve: (() => void) | undefined;

  /** Resolves after `ms`, which may be `Infinity`, or at the next `wake`. One waits at a time. */
  async wait(ms: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#resolve = resolve;
    const timer = ms === Infinity ? undefined : setTimeout(resolve, ms);
    await promise;
    clearTimeout(timer);
    this.#resolve = undefined;
  }

  wake(): void {
    this.#resolve?.();
  }
}
