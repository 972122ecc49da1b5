/**
 * Taking over, in place, what another registry wrote: repository by repository, in the background and whenever a
 * request comes for one that is still to come. No byte is copied; nothing of the other registry is changed.
 */
import { batches } from "../base/batches.ts";
import { Limiter } from "../base/limiter.ts";
import type { ForeignLayout } from "../blobs/foreign.ts";
import { keys } from "../meta/keys.ts";
import type { Commit } from "../meta/port.ts";
import type { RepositoryName } from "../oci/name.ts";
import {
  FlawTally,
  type AdoptedRecord,
  type AdoptionState,
  type AdoptionStatus,
} from "./adopt-records.ts";
import { adoptRepository, NAMED_ONLY } from "./adopt-repository.ts";
import { commitPlan, expectation, type Context } from "./context.ts";
import { decode, encode, type RepositoryRecord } from "./records.ts";

/** Names written in one commit. */
const BATCH = 200;
/** Repositories taken over at once: their commits share an fsync. */
const WIDTH = 32;
/** Manifests read at once, of all repositories together: each is held in memory. */
const READS_MAX = 64;
const EXAMPLES_MAX = 20;

export interface AdoptionProgress {
  readonly phase: "listing" | "indexing";
  /** Repositories named, or taken over. */
  readonly done: number;
  /** 0 while it is not known. */
  readonly total: number;
}

export class Adopter {
  readonly #ctx: Context;
  readonly #layout: ForeignLayout;
  /** Taken over, as this process knows: what is once so stays so. */
  readonly #known = new Set<RepositoryName>();
  readonly #running = new Map<RepositoryName, Promise<boolean>>();
  readonly #reads = new Limiter(READS_MAX);
  #signal: AbortSignal | undefined;
  #pending = true;
  #listing = true;

  constructor(ctx: Context, layout: ForeignLayout) {
    this.#ctx = ctx;
    this.#layout = layout;
  }

  /** Before any request is answered: notes that there is something to take over. Resolves to whether it is over. */
  async begin(): Promise<boolean> {
    const { meta, clock } = this.#ctx;
    const { entries } = await meta.get([keys.adoption]);
    if (entries[0] === undefined) {
      const flaws = new FlawTally(0).report();
      const state = { phase: "listing", startedAt: clock.now(), repositories: 0, flaws } as const;
      await meta.commit({
        expect: [{ key: keys.adoption, version: 0 }],
        put: [{ key: keys.adoption, value: encode(state satisfies AdoptionState) }],
      });
    }
    return this.#isOver();
  }

  /** Whether the names of all repositories are known. */
  async isListed(): Promise<boolean> {
    if (this.#listing) await this.#isOver();
    return !this.#listing;
  }

  /** Resolves when nothing of this repository is left to take over. Costs nothing once all is. */
  async ensure(name: RepositoryName): Promise<void> {
    if (!this.#pending || this.#known.has(name)) return;
    if (await this.#once(name)) this.#known.add(name);
  }

  /**
   * Takes everything over. Resolves to false when some repositories could not be read: `failed` has been told why,
   * and a later run begins with them.
   */
  async run(
    signal: AbortSignal,
    on: {
      progress(progress: AdoptionProgress): void;
      failed(name: RepositoryName, error: unknown): void;
    },
  ): Promise<boolean> {
    this.#signal = signal;
    if (!(await this.isListed())) await this.#list(signal, on);
    if (signal.aborted) return false;
    const state = await this.#state();
    const total = state?.repositories ?? 0;
    let [done, failures] = [0, 0];
    on.progress({ phase: "indexing", done, total });
    await eachOf(
      this.#layout.repositories(() => {}),
      WIDTH,
      signal,
      async (name) => {
        try {
          await this.#once(name);
          on.progress({ phase: "indexing", done: ++done, total });
        } catch (error) {
          if (signal.aborted) return;
          failures++;
          on.failed(name, error);
        }
      },
    );
    return failures === 0 && !signal.aborted;
  }

  /** After a complete run: from now on nobody looks any more. */
  async complete(): Promise<void> {
    await this.#advance((state) => ({ ...state, phase: "done", endedAt: this.#ctx.clock.now() }));
    this.#over();
  }

  async #list(
    signal: AbortSignal,
    on: { progress(progress: AdoptionProgress): void },
  ): Promise<void> {
    const flaws = new FlawTally(EXAMPLES_MAX);
    const size = Math.min(BATCH, this.#ctx.meta.operationsMax);
    let repositories = 0;
    for await (const names of batches(this.#layout.repositories(flaws.note), size)) {
      if (signal.aborted) return;
      await this.#name(names);
      repositories += names.length;
      on.progress({ phase: "listing", done: repositories, total: 0 });
    }
    await this.#advance((state) => ({
      ...state,
      phase: "indexing",
      repositories,
      flaws: flaws.report(),
    }));
    this.#listing = false;
  }

  /** Puts names into the catalog. */
  async #name(names: readonly RepositoryName[]): Promise<void> {
    const { meta, clock } = this.#ctx;
    const wanted = names.map((name) => keys.repository(name));
    const value = encode({ incarnation: NAMED_ONLY, at: clock.now() } satisfies RepositoryRecord);
    await commitPlan(meta, async () => {
      const { entries } = await meta.get(wanted);
      const absent = wanted.filter((_, i) => entries[i] === undefined);
      if (absent.length === 0) return { result: undefined };
      const commit: Commit = {
        expect: absent.map((key) => ({ key, version: 0 })),
        put: absent.map((key) => ({ key, value })),
      };
      return { commit, result: undefined };
    });
  }

  /** Takes a repository over unless somebody is at it; false when there is no such repository there. */
  #once(name: RepositoryName): Promise<boolean> {
    const running = this.#running.get(name);
    if (running) return running;
    const run = this.#adopt(name).finally(() => this.#running.delete(name));
    this.#running.set(name, run);
    return run;
  }

  async #adopt(name: RepositoryName): Promise<boolean> {
    const { entries } = await this.#ctx.meta.get([keys.adopted(name)]);
    if (entries[0] !== undefined) return true;
    if ((await this.#isOver()) || !(await this.#layout.has(name))) return false;
    const options = { reads: this.#reads, signal: this.#signal };
    await adoptRepository(this.#ctx, this.#layout, name, options);
    return true;
  }

  async #isOver(): Promise<boolean> {
    if (!this.#pending) return true;
    const phase = (await this.#state())?.phase;
    this.#listing = phase === undefined || phase === "listing";
    if (phase === "done" || phase === "finished") this.#over();
    return !this.#pending;
  }

  #over(): void {
    this.#pending = false;
    this.#listing = false;
    this.#known.clear();
  }

  async #state(): Promise<AdoptionState | undefined> {
    const { entries } = await this.#ctx.meta.get([keys.adoption]);
    return decode<AdoptionState>(entries[0])?.value;
  }

  async #advance(change: (state: AdoptionState) => AdoptionState): Promise<void> {
    await advanceAdoption(this.#ctx, change);
  }
}

export async function advanceAdoption(
  { meta }: Pick<Context, "meta">,
  change: (state: AdoptionState) => AdoptionState,
): Promise<void> {
  await commitPlan(meta, async () => {
    const { entries } = await meta.get([keys.adoption]);
    const state = decode<AdoptionState>(entries[0])?.value;
    if (state === undefined) return { result: undefined };
    const put = [{ key: keys.adoption, value: encode(change(state)) }];
    return { commit: { expect: [expectation(keys.adoption, entries[0])], put }, result: undefined };
  });
}

/** What has been taken over so far; `undefined` where there never was anything. Reads a record a repository. */
export async function adoptionStatus({
  meta,
}: Pick<Context, "meta">): Promise<AdoptionStatus | undefined> {
  const { entries } = await meta.get([keys.adoption]);
  const state = decode<AdoptionState>(entries[0])?.value;
  if (state === undefined) return undefined;
  const flaws = new FlawTally(EXAMPLES_MAX);
  flaws.add(state.flaws);
  const counts = { adopted: 0, manifests: 0, tags: 0, layers: 0 };
  let after: string | undefined;
  do {
    const prefix = keys.adopteds;
    const page = await meta.scan({ prefix, limit: BATCH, ...(after ? { after } : {}) });
    for (const entry of page.entries) {
      const record = decode<AdoptedRecord>(entry)?.value;
      if (record === undefined) continue;
      counts.adopted++;
      for (const part of ["manifests", "tags", "layers"] as const) counts[part] += record[part];
      if (record.flaws) flaws.add(record.flaws);
    }
    after = page.more ? page.entries.at(-1)?.key : undefined;
  } while (after !== undefined);
  return { ...state, ...counts, flaws: flaws.report() };
}

/** Runs `work` for each item, at most `width` at once, until `signal` aborts. */
async function eachOf<T>(
  items: AsyncIterable<T>,
  width: number,
  signal: AbortSignal,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const running = new Set<Promise<void>>();
  for await (const item of items) {
    if (signal.aborted) break;
    const run: Promise<void> = work(item).finally(() => running.delete(run));
    running.add(run);
    if (running.size >= width) await Promise.race(running);
  }
  await Promise.all(running);
}
