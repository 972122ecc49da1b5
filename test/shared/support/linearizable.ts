/**
 * Whether what clients saw of one register can have happened one thing after another, each between its start and its
 * end (Wing and Gong, "Testing and Verifying Concurrent Objects", with Lowe's memory of configurations).
 */

export type Value = string | undefined;

export type Action =
  | { readonly kind: "read"; readonly value: Value }
  | { readonly kind: "write"; readonly value: string }
  /** `existed`: what its answer said. */
  | { readonly kind: "delete"; readonly existed: boolean }
  /** Writes where the register shows `expected`; `succeeded`: whether its answer said so. */
  | {
      readonly kind: "swap";
      readonly expected: Value;
      readonly value: string;
      readonly succeeded: boolean;
    };

export interface Operation {
  readonly action: Action;
  readonly start: number;
  readonly end: number;
  /** No answer came: it may have happened, at any time after its start, or not at all. */
  readonly unknown?: boolean;
}

/** More configurations than this, and the history is too tangled to judge. */
const CONFIGURATIONS_MAX = 2_000_000;

/** Begins with an absent value. Throws when the history cannot be judged in reasonable time. */
export function isLinearizable(history: readonly Operation[]): boolean {
  return new Search(history).run();
}

class Search {
  readonly #operations: readonly Operation[];
  readonly #done: boolean[];
  readonly #visited = new Set<string>();
  #left: number;

  constructor(history: readonly Operation[]) {
    // A read that was not answered says nothing.
    this.#operations = history
      .filter(({ unknown, action }) => unknown !== true || action.kind !== "read")
      .toSorted((a, b) => a.start - b.start);
    this.#done = this.#operations.map(() => false);
    this.#left = this.#operations.filter(({ unknown }) => unknown !== true).length;
  }

  run(): boolean {
    return this.#from(0, undefined);
  }

  /**
   * All before `low` are done, or unknown. `toBeSeen`: the value comes from an operation without an answer, which
   * would be left out if nothing saw it.
   */
  #from(low: number, value: Value, toBeSeen = false): boolean {
    const settled: number[] = [];
    const next = this.#settle(low, value, settled);
    const result = this.#search(next, value, toBeSeen && settled.length === 0);
    if (result) return true;
    for (const at of settled) this.#undo(at);
    return false;
  }

  /** What changes nothing and can come next, may as well come next; the new `low`. */
  #settle(low: number, value: Value, settled: number[]): number {
    for (let found = true; found;) {
      found = false;
      for (const at of this.#next(low)) {
        const operation = this.#operations[at];
        if (operation === undefined || operation.unknown === true) continue;
        const after = outcome(operation, value);
        if (after === IMPOSSIBLE || after !== value) continue;
        this.#do(at);
        settled.push(at);
        found = true;
      }
    }
    return this.#lowest(low);
  }

  #search(low: number, value: Value, toBeSeen: boolean): boolean {
    if (this.#left === 0) return true;
    const configuration = `${this.#describe(low, value)} ${toBeSeen}`;
    if (this.#visited.has(configuration)) return false;
    if (this.#visited.size > CONFIGURATIONS_MAX) throw new Error("the history is too tangled");
    this.#visited.add(configuration);
    for (const at of this.#next(low)) {
      const operation = this.#operations[at];
      if (operation === undefined || (toBeSeen && isBlind(operation))) continue;
      const after = outcome(operation, value);
      if (after === IMPOSSIBLE || after === value) continue;
      this.#do(at);
      if (this.#from(low, after, operation.unknown)) return true;
      this.#undo(at);
    }
    return false;
  }

  /** What is not done and begins before everything that is not done ends; those with an answer first. */
  #next(low: number): number[] {
    let bound = Infinity;
    const known: number[] = [];
    const unknown: number[] = [];
    for (let at = 0; at < this.#operations.length; at++) {
      const operation = this.#operations[at];
      if (operation === undefined || operation.start > bound) break;
      if (this.#done[at]) continue;
      if (operation.unknown === true) unknown.push(at);
      else if (at >= low) {
        known.push(at);
        bound = Math.min(bound, operation.end);
      }
    }
    return [...known, ...unknown].filter((at) => (this.#operations[at]?.start ?? 0) <= bound);
  }

  #lowest(low: number): number {
    let at = low;
    while (at < this.#operations.length && (this.#done[at] || this.#operations[at]?.unknown)) at++;
    return at;
  }

  #describe(low: number, value: Value): string {
    const done: number[] = [];
    for (const [at, operation] of this.#operations.entries()) {
      if (this.#done[at] && (at > low || operation.unknown === true)) done.push(at);
    }
    return `${low} ${done.join(",")} ${value ?? ""}`;
  }

  #do(at: number): void {
    this.#done[at] = true;
    if (this.#operations[at]?.unknown !== true) this.#left--;
  }

  #undo(at: number): void {
    this.#done[at] = false;
    if (this.#operations[at]?.unknown !== true) this.#left++;
  }
}

/** Whether it can happen whatever the value is. */
function isBlind({ action, unknown }: Operation): boolean {
  return action.kind === "write" || (action.kind === "delete" && unknown === true);
}

const IMPOSSIBLE = Symbol("impossible");

/** The value after the operation, or that it cannot have had this answer now. */
function outcome({ action, unknown }: Operation, value: Value): Value | typeof IMPOSSIBLE {
  switch (action.kind) {
    case "read":
      return action.value === value ? value : IMPOSSIBLE;
    case "write":
      return action.value;
    case "delete":
      if (unknown === true) return undefined;
      return action.existed === (value !== undefined) ? undefined : IMPOSSIBLE;
    case "swap":
      if (unknown === true) return action.expected === value ? action.value : value;
      if (action.succeeded) return action.expected === value ? action.value : IMPOSSIBLE;
      return action.expected === value ? IMPOSSIBLE : value;
    default:
      return action satisfies never;
  }
}
