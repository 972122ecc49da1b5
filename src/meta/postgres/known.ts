/** The highest revision that this process has seen: no server may show it an older state afterwards. */
export class Known {
  #revision: number;
  readonly #onRaise: (revision: number) => void;

  constructor(revision: number, onRaise: (revision: number) => void) {
    this.#revision = revision;
    this.#onRaise = onRaise;
  }

  get revision(): number {
    return this.#revision;
  }

  raise(revision: number): void {
    if (revision <= this.#revision) return;
    this.#revision = revision;
    this.#onRaise(revision);
  }
}
