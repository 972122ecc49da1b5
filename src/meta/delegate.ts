import type { MetaStore } from "./port.ts";

/** The store, but for what `own` does in its place. */
export function delegate(
  store: MetaStore,
  own: Partial<Pick<MetaStore, "get" | "scan" | "commit" | "close">>,
): MetaStore {
  return {
    operationsMax: store.operationsMax,
    get: (keys) => store.get(keys),
    scan: (options) => store.scan(options),
    commit: (commit) => store.commit(commit),
    watch: (options) => store.watch(options),
    close: () => store.close(),
    ...own,
  };
}
