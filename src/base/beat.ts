/** Something done again and again, never twice at once: a turn that takes long swallows those that fall into it. */
export class Beat {
  readonly #timer: ReturnType<typeof setInterval>;
  #turn: Promise<void> | undefined;

  /** `turn` deals with its own errors. */
  constructor(everyMs: number, turn: () => Promise<void>) {
    this.#timer = setInterval(() => {
      this.#turn ??= turn().finally(() => {
        this.#turn = undefined;
      });
    }, everyMs);
  }

  /** No turn begins after this; resolves when none is under way, or after `patienceMs`. */
  async stop(patienceMs: number): Promise<void> {
    clearInterval(this.#timer);
    if (this.#turn !== undefined) await Promise.race([this.#turn, Bun.sleep(patienceMs)]);
  }
}
