/** Gathers commits into groups: those that came while a group was under way form the next. */
import { checkCommit } from "../check-commit.ts";
import { type Commit, type CommitResult, StoreUnavailable } from "../port.ts";
import { isAway } from "./errors.ts";

/** Largest number of puts and deletes, and of expectations, in one commit. */
export const OPERATIONS_MAX = 4096;

/** A group ends once it weighs this much, an operation and a KiB of value 1 each: bounds how long others wait for the store's lock. */
const GROUP_WEIGHT = 4096;
/** How long a commit waits to be sent. */
const WAIT_MS = 2000;

interface Waiting {
  readonly commit: Commit;
  readonly resolve: (result: CommitResult) => void;
  readonly reject: (error: unknown) => void;
  readonly timer: ReturnType<typeof setTimeout>;
}

/** What a group's commits came to, one each in their order. */
export type GroupResults = readonly (CommitResult | Error)[];

export class CommitQueue {
  readonly #run: (commits: readonly Commit[]) => Promise<GroupResults>;
  readonly #waiting = new Set<Waiting>();
  #running: Promise<void> | undefined;

  /** `run` commits a group; when it throws, every commit of the group has failed so. */
  constructor(run: (commits: readonly Commit[]) => Promise<GroupResults>) {
    this.#run = run;
  }

  add(commit: Commit): Promise<CommitResult> {
    checkCommit(commit, OPERATIONS_MAX);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(waiting);
        reject(
          new StoreUnavailable("the metadata database was busy or away: nothing was sent to it"),
        );
      }, WAIT_MS);
      const waiting = { commit, resolve, reject, timer };
      this.#waiting.add(waiting);
      this.#running ??= this.#work();
    });
  }

  /** Resolves once nothing waits and nothing is under way. */
  async idle(): Promise<void> {
    await this.#running;
  }

  async #work(): Promise<void> {
    // The commits of one turn of the event loop belong together.
    await new Promise((resolve) => setImmediate(resolve));
    while (this.#waiting.size > 0) await this.#group(this.#take(GROUP_WEIGHT));
    this.#running = undefined;
  }

  async #group(group: readonly Waiting[]): Promise<void> {
    try {
      const results = await this.#run(group.map(({ commit }) => commit));
      for (const [index, { resolve, reject }] of group.entries()) {
        const result = results[index];
        if (result === undefined) reject(new StoreUnavailable("a commit got no answer"));
        else if (result instanceof Error) reject(result);
        else resolve(result);
      }
    } catch (error) {
      const failed = isAway(error) ? [...group, ...this.#take(Infinity)] : group;
      for (const { reject } of failed) reject(error);
    }
  }

  #take(most: number): Waiting[] {
    const taken: Waiting[] = [];
    let weight = 0;
    for (const waiting of this.#waiting) {
      weight += weightOf(waiting.commit);
      if (taken.length > 0 && weight > most) break;
      clearTimeout(waiting.timer);
      this.#waiting.delete(waiting);
      taken.push(waiting);
    }
    return taken;
  }
}

function weightOf({ expect = [], put = [], delete: deleted = [] }: Commit): number {
  let weight = 1 + expect.length + deleted.length;
  for (const { value } of put) weight += 1 + value.length / 1024;
  return weight;
}
