/** What is remembered of taking over another registry's directory. Times are milliseconds since the epoch. */
import type { Flaw, FlawKind } from "../blobs/foreign.ts";

/**
 * `adopt!state`. `listing`: repositories are being named; `indexing`: all are named, not all taken over; `done`: all
 * are, their bytes lie where they lay; `finished`: the bytes are ours, and the old directory is gone.
 */
export interface AdoptionState {
  readonly phase: "listing" | "indexing" | "done" | "finished";
  readonly startedAt: number;
  readonly endedAt?: number;
  /** As listed; 0 before. */
  readonly repositories: number;
  /** Of the names; those of a repository are in its own record. */
  readonly flaws: FlawReport;
}

/** `adopt!repo!R`: this repository is taken over, and from now on changed by our clients alone. */
export interface AdoptedRecord {
  readonly at: number;
  readonly manifests: number;
  readonly tags: number;
  /** Blobs the repository shows. */
  readonly layers: number;
  readonly flaws?: FlawReport;
}

export interface FlawReport {
  readonly counts: Readonly<Partial<Record<FlawKind, number>>>;
  /** The first of each kind. */
  readonly examples: readonly Flaw[];
}

/** Everything there is to say of an adoption. */
export interface AdoptionStatus extends Omit<AdoptionState, "flaws"> {
  /** Repositories taken over so far, and what is in them. */
  readonly adopted: number;
  readonly manifests: number;
  readonly tags: number;
  readonly layers: number;
  readonly flaws: FlawReport;
  /** Of the blobs known; counted only on demand. */
  readonly blobs?: ForeignCount;
}

export interface ForeignCount {
  /** Blobs whose bytes still lie in the old directory, and the bytes. */
  readonly foreign: number;
  readonly bytes: number;
  /** Of these, not read yet. */
  readonly unverified: number;
}

/** Counts flaws and keeps the first `limit` of each kind. */
export class FlawTally {
  readonly #limit: number;
  readonly #counts: Partial<Record<FlawKind, number>> = {};
  readonly #examples: Flaw[] = [];

  constructor(limit: number) {
    this.#limit = limit;
  }

  readonly note = (flaw: Flaw): void => {
    this.#counts[flaw.kind] = (this.#counts[flaw.kind] ?? 0) + 1;
    this.#keep(flaw);
  };

  add({ counts, examples }: FlawReport): void {
    for (const [kind, count] of Object.entries(counts) as [FlawKind, number][]) {
      this.#counts[kind] = (this.#counts[kind] ?? 0) + count;
    }
    for (const flaw of examples) this.#keep(flaw);
  }

  get total(): number {
    return Object.values(this.#counts).reduce((sum, count) => sum + count, 0);
  }

  #keep(flaw: Flaw): void {
    const alike = this.#examples.filter(({ kind }) => kind === flaw.kind);
    if (alike.length < this.#limit) this.#examples.push(flaw);
  }

  report(): FlawReport {
    return { counts: { ...this.#counts }, examples: [...this.#examples] };
  }
}
