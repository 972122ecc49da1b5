/** Commits of keys of their own, each written blindly and once, and what became of them by the store's own history. */
import { expect } from "bun:test";
import { type Change, type MetaStore, StoreUnavailable } from "../../src/meta/port.ts";

/** For the engines that forget: more commits than any load makes. */
export const WHOLE_HISTORY = { historyMax: 1_000_000 };

export interface Load {
  /** What each key's commit was told: its revision, or the error. */
  readonly told: ReadonlyMap<string, number | Error>;
  readonly committed: number;
  readonly failed: number;
  /** Longest wait for an answer, in milliseconds. */
  readonly slowest: number;
  stop(): Promise<void>;
}

/** Commits from `lanes` clients of `store` at once until it is stopped. Nothing but `StoreUnavailable` may be thrown. */
export function startLoad(store: MetaStore, prefix: string, lanes = 8): Load {
  const told = new Map<string, number | Error>();
  const load = { told, committed: 0, failed: 0, slowest: 0 };
  let going = true;
  const lane = async (index: number) => {
    for (let turn = 0; going; turn++) {
      const key = `${prefix}${index}!${turn}`;
      const start = performance.now();
      const result = await store
        .commit({ put: [{ key, value: `"${key}"` }] })
        .catch((error: unknown) => error as Error);
      load.slowest = Math.max(load.slowest, performance.now() - start);
      if (result instanceof Error) {
        if (!(result instanceof StoreUnavailable)) throw result;
        load.failed++;
        told.set(key, result);
        await Bun.sleep(10);
      } else {
        if (!result.ok) throw new Error("a commit without expectations conflicted");
        load.committed++;
        told.set(key, result.revision);
      }
    }
  };
  const running = Promise.all(Array.from({ length: lanes }, (_, index) => lane(index)));
  return Object.assign(load, {
    async stop() {
      going = false;
      await running;
    },
  });
}

/**
 * Compares with the history since `after`: what was acknowledged is there at its revision, nothing is there twice,
 * and what was refused is not there unless `mayBeThere` says that its outcome was unknown.
 */
export async function checkLoad(
  store: MetaStore,
  prefix: string,
  after: number,
  told: ReadonlyMap<string, number | Error>,
  mayBeThere: (error: Error) => boolean,
): Promise<void> {
  const found = new Map<string, number>();
  for (const { revision, changes } of await history(store, prefix, after))
    for (const { key } of changes) {
      if (found.has(key))
        throw new Error(`${key} was committed twice: ${found.get(key)}, ${revision}`);
      found.set(key, revision);
    }
  const wrong: string[] = [];
  for (const [key, answer] of told) {
    const revision = found.get(key);
    if (
      typeof answer === "number"
        ? revision !== answer
        : revision !== undefined && !mayBeThere(answer)
    )
      wrong.push(`${key} is at ${revision}, told was ${String(answer)}`);
  }
  expect(wrong).toEqual([]);
  expect([...found.keys()].filter((key) => !told.has(key))).toEqual([]);
}

async function history(store: MetaStore, prefix: string, after: number): Promise<Change[]> {
  const { revision } = await store.get([]);
  const end = `${prefix}end`;
  await store.commit({ put: [{ key: end, value: "1" }] });
  const seen: Change[] = [];
  const stop = new AbortController();
  for await (const change of store.watch({ prefix, after, signal: stop.signal })) {
    if (change.revision > revision && change.changes.some(({ key }) => key === end)) break;
    seen.push(change);
  }
  stop.abort();
  return seen;
}
