/**
 * Who makes the new store of a cluster ready for use. Any node may that knows that nobody brings records; else the one
 * that brings them fills it, and the others serve nobody until it has: what they took meanwhile would be in its way.
 */
import type { Logger } from "../base/log.ts";
import { waited } from "../base/waited.ts";
import type { Membership } from "../cluster/membership/index.ts";
import { requireFresh } from "../meta/fresh.ts";
import { keys } from "../meta/keys.ts";
import type { EtcdStore } from "../meta/etcd/index.ts";
import { type MetaStore, type Revision, StoreUnavailable } from "../meta/port.ts";
import { StartError } from "./start-error.ts";

/** Opens the store; a new one in its place, with greater revisions than `above`. */
export type OpenStore = (above?: Revision) => Promise<EtcdStore>;

/** `new`: nobody has used it; `half`: somebody was filling it, or is. */
export type StoreState = "new" | "half" | "ready";

/** Fills a store that is not ready, or says why it will not. Resolves to the store as it is open then. */
export type Bring = (
  store: EtcdStore,
  state: StoreState,
  place: { readonly open: OpenStore; readonly metadata: string },
) => Promise<EtcdStore>;

export interface FoundOptions {
  readonly open: OpenStore;
  /** Of the cluster; `external` for an etcd that is not ours. */
  readonly metadata: string;
  readonly node: string;
  readonly membership: Pick<Membership, "isFounder" | "bringer">;
  readonly bring: Bring | undefined;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

export const EXTERNAL = "external";

const AGAIN_MS = 500;
const SAID_MS = 10_000;

/** Resolves to a store that is in use, or that this node may begin. Throws `StartError`, the signal's reason. */
export async function foundStore(options: FoundOptions): Promise<EtcdStore> {
  const { open, metadata, node, membership, bring, log, signal } = options;
  const { isFounder, bringer } = membership;
  let said = -Infinity;
  for (;;) {
    const store = await open();
    const state = await stateOf(store);
    if (state !== undefined && bring !== undefined) return bring(store, state, { open, metadata });
    if (state === "ready" || metadata === EXTERNAL) return store;
    if (state === "new" && isFounder && bringer === undefined) return store;
    if (state !== undefined && bringer === node)
      throw new StartError(
        "this cluster was formed to be filled by this node, which has not come to it: if it was from a backup, run the " +
          "same `holdfast restore` again; if it was with the registry that this node was alone, put its metadata " +
          "folder back into the data directory",
      );
    // It may be another one by now.
    await store.close();
    if (performance.now() - said > SAID_MS) {
      said = performance.now();
      const who = bringer ?? "a node that formed the cluster";
      log.warn(`waiting for ${who} to fill the new cluster with the records that it begins with`);
    }
    await waited(AGAIN_MS, signal);
    signal.throwIfAborted();
  }
}

/** `undefined` while it cannot be seen. */
async function stateOf(store: MetaStore): Promise<StoreState | undefined> {
  try {
    const [schema, restoring] = requireFresh(
      await store.get([keys.schema, keys.restoring]),
    ).entries;
    if (restoring !== undefined) return "half";
    return schema === undefined ? "new" : "ready";
  } catch (error) {
    if (error instanceof StoreUnavailable) return undefined;
    throw error;
  }
}
