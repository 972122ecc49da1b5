/** What this process knows of the store: no server may show it another one, or an older state, afterwards. */
export class Known {
  /** The store's. */
  readonly identity: string;
  #revision: number;
  readonly #onRaise: (revision: number) => void;

  constructor(identity: string, revision: number, onRaise: (revision: number) => void) {
    this.identity = identity;
    this.#revision = revision;
    this.#onRaise = onRaise;
  }

  /** The highest revision that has been seen. */
  get revision(): number {
    return this.#revision;
  }

  raise(revision: number): void {
    if (revision <= this.#revision) return;
    this.#revision = revision;
    this.#onRaise(revision);
  }
}
