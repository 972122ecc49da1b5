/** The latest commits as the writer made them: who follows closely need not read them back from the database. */
import type { Change } from "../port.ts";

/** Commits kept; their keys and values are in memory once more. */
const COMMITS_MAX = 256;
/** Changes kept, unless one commit alone has more. */
const CHANGES_MAX = 2048;

export class Recent {
  #commits: Change[] = [];
  #changes = 0;

  /** Takes the commits of a group that is durable; they follow those taken before without a gap. */
  add(commits: readonly Change[]): void {
    for (const commit of commits) {
      this.#commits.push(commit);
      this.#changes += commit.changes.length;
    }
    if (this.#commits.length > 2 * COMMITS_MAX || this.#changes > 2 * CHANGES_MAX) this.#forget();
  }

  /**
   * Every commit after revision `after`, those that touch no key under `prefix` without changes; `undefined` when
   * some of them have been forgotten here.
   */
  after(after: number, prefix: string): readonly Change[] | undefined {
    const first = this.#commits[0];
    if (first === undefined || first.revision > after + 1) return undefined;
    const found = this.#commits.slice(after + 1 - first.revision);
    if (prefix === "") return found;
    return found.map(({ revision, changes }) => ({
      revision,
      changes: changes.filter(({ key }) => key.startsWith(prefix)),
    }));
  }

  #forget(): void {
    let from = this.#commits.length;
    let changes = 0;
    while (from > 0 && this.#commits.length - from < COMMITS_MAX) {
      changes += this.#commits[from - 1]?.changes.length ?? 0;
      if (changes > CHANGES_MAX) break;
      from--;
    }
    this.#commits = this.#commits.slice(from);
    this.#changes = this.#commits.reduce((sum, commit) => sum + commit.changes.length, 0);
  }
}
