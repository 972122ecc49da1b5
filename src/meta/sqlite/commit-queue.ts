/** Gathers commits into groups: those of one turn of the event loop, and those that came while a group was written. */
import { checkCommit } from "../check-commit.ts";
import { type Commit, type CommitResult, StoreUnavailable } from "../port.ts";

/** Largest number of puts, deletes and expectations in one commit. */
export const OPERATIONS_MAX = 4096;

/** A group ends once it holds this many: bounds how long the event loop stands still. */
const GROUP_OPERATIONS = 4096;

interface Waiting {
  readonly commit: Commit;
  readonly resolve: (result: CommitResult) => void;
  readonly reject: (error: unknown) => void;
}

export class CommitQueue {
  readonly #run: (commits: readonly Commit[]) => CommitResult[];
  readonly #waiting: Waiting[] = [];
  #scheduled = false;

  /** `run` commits a group, or throws when none of it has happened. */
  constructor(run: (commits: readonly Commit[]) => CommitResult[]) {
    this.#run = run;
  }

  add(commit: Commit): Promise<CommitResult> {
    checkCommit(commit, OPERATIONS_MAX);
    return new Promise((resolve, reject) => {
      this.#waiting.push({ commit, resolve, reject });
      this.#schedule();
    });
  }

  /** Commits everything that waits, now. */
  flush(): void {
    while (this.#waiting.length > 0) this.#group();
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    // After the turn's input: everything that other processes have sent by now is in the group.
    setImmediate(() => {
      this.#scheduled = false;
      if (this.#waiting.length > 0) this.#group();
      if (this.#waiting.length > 0) this.#schedule();
    });
  }

  #group(): void {
    const group = this.#takeGroup();
    let results: readonly CommitResult[];
    try {
      results = this.#run(group.map(({ commit }) => commit));
    } catch (error) {
      for (const { reject } of group) reject(error);
      return;
    }
    for (const [index, { resolve, reject }] of group.entries()) {
      const result = results[index];
      if (result === undefined) reject(new StoreUnavailable("a commit got no answer"));
      else resolve(result);
    }
  }

  #takeGroup(): Waiting[] {
    let operations = 0;
    let count = 0;
    for (const { commit } of this.#waiting) {
      operations += operationsOf(commit);
      if (count > 0 && operations > GROUP_OPERATIONS) break;
      count++;
    }
    return this.#waiting.splice(0, count);
  }
}

function operationsOf({ expect, put, delete: deleted }: Commit): number {
  return (expect?.length ?? 0) + (put?.length ?? 0) + (deleted?.length ?? 0);
}
