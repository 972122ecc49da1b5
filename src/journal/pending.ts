/** Commits that have been heard of and are in no segment yet, in order. */
import type { Revision } from "../meta/port.ts";

interface PendingCommit {
  readonly revision: Revision;
  readonly line: string;
  /** `performance.now()` when it was heard of. */
  readonly heard: number;
}

export interface Taken {
  readonly lines: readonly string[];
  readonly last: Revision;
  /** Whether nothing is left. */
  readonly all: boolean;
}

export class Pending {
  #commits: PendingCommit[] = [];
  #characters = 0;

  get count(): number {
    return this.#commits.length;
  }

  get characters(): number {
    return this.#characters;
  }

  get first(): PendingCommit | undefined {
    return this.#commits[0];
  }

  add(revision: Revision, line: string): void {
    this.#commits.push({ revision, line, heard: performance.now() });
    this.#characters += line.length;
  }

  /** The first commits, up to `charactersMax` but at least one if there is any; they stay until dropped. */
  take(charactersMax: number): Taken {
    const lines: string[] = [];
    let characters = 0;
    let last = 0;
    for (const { line, revision } of this.#commits) {
      characters += line.length;
      if (lines.length > 0 && characters > charactersMax) break;
      lines.push(line);
      last = revision;
    }
    return { lines, last, all: lines.length === this.#commits.length };
  }

  /** Forgets the commits up to a revision: they are in a segment. */
  dropTo(revision: Revision): void {
    let count = 0;
    for (const commit of this.#commits) {
      if (commit.revision > revision) break;
      this.#characters -= commit.line.length;
      count++;
    }
    if (count > 0) this.#commits = this.#commits.slice(count);
  }
}
