/** Short forms of what the conformance suite does to a store. */
import type { Change, Commit, MetaStore } from "./port.ts";

export function write(
  expect: readonly (readonly [string, number])[],
  put: Record<string, string>,
): Commit {
  return {
    expect: expect.map(([key, version]) => ({ key, version })),
    put: Object.entries(put).map(([key, value]) => ({ key, value })),
  };
}

export async function done(result: ReturnType<MetaStore["commit"]>): Promise<number> {
  const settled = await result;
  if (!settled.ok) throw new Error(`unexpected conflict on ${settled.keys.join(", ")}`);
  return settled.revision;
}

export function commit(
  store: MetaStore,
  expect: readonly (readonly [string, number])[],
  values: Record<string, string>,
): Promise<number> {
  return done(store.commit(write(expect, values)));
}

export function put(store: MetaStore, values: Record<string, string>): Promise<number> {
  return commit(store, [], values);
}

export function lost(...keys: string[]): { readonly ok: false; readonly keys: readonly string[] } {
  return { ok: false, keys };
}

/** The first `count` changes, and the watch ended. */
export async function collect(
  store: MetaStore,
  prefix: string,
  after: number,
  count: number,
): Promise<Change[]> {
  const seen: Change[] = [];
  if (count === 0) return seen;
  const stop = new AbortController();
  for await (const change of store.watch({ prefix, after, signal: stop.signal })) {
    seen.push(change);
    if (seen.length === count) break;
  }
  stop.abort();
  return seen;
}

export async function drain(changes: AsyncIterable<Change>): Promise<number> {
  let count = 0;
  for await (const { changes: some } of changes) count += some.length;
  return count;
}

export function sorted({ revision, changes }: Change): Change {
  return { revision, changes: [...changes].sort((x, y) => (x.key < y.key ? -1 : 1)) };
}
