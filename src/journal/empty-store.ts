/** A store that is fit to be filled: empty, with revisions above all that the journal knows. */
import { requireFresh } from "../meta/fresh.ts";
import { isJournaled, keys } from "../meta/keys.ts";
import { type MetaStore, type Revision, StoreUnavailable } from "../meta/port.ts";
import { pages } from "../meta/pages.ts";

/** Opens the store as it is or, an empty one, so that every later revision is greater than `above`. */
export type OpenStore = (above?: Revision) => Promise<MetaStore>;

/** A margin for what a store that is gone may have committed beyond its journal. */
const MARGIN = 2 ** 20;

/** Empties what an earlier rebuild that was cut short has left. Throws `StoreUnavailable` for a store in use. */
export async function openEmpty(open: OpenStore, highest: Revision): Promise<MetaStore> {
  let store = await open();
  try {
    if ((await holdsFacts(store)) && !(await isRestoring(store)))
      throw new StoreUnavailable(
        "the database is not empty: move its content away before it is rebuilt from the journal",
      );
    await empty(store);
    const { revision } = await store.get([]);
    if (revision < highest || revision === 0) {
      await store.close();
      store = await open(highest + MARGIN);
    }
    await store.commit({ put: [{ key: keys.restoring, value: "{}" }] });
    return store;
  } catch (error) {
    await store.close();
    throw error;
  }
}

/** Whether there is anything that a journal keeps: a start that was refused may have left credentials. */
async function holdsFacts(store: MetaStore): Promise<boolean> {
  for await (const page of pages(store, "", { keysOnly: true }))
    if (requireFresh(page).entries.some(({ key }) => isJournaled(key))) return true;
  return false;
}

/** Whether a rebuild of the store has begun and has not ended. */
export async function isRestoring(store: MetaStore): Promise<boolean> {
  const { entries } = requireFresh(await store.get([keys.restoring]));
  return entries[0] !== undefined;
}

/** Deletes every key but the mark that the store is being filled. */
export async function empty(store: MetaStore): Promise<void> {
  const most = Math.min(store.operationsMax, 1000);
  for await (const { entries } of pages(store, "", { keysOnly: true })) {
    const doomed = entries.map(({ key }) => key).filter((key) => key !== keys.restoring);
    for (let at = 0; at < doomed.length; at += most)
      await store.commit({ delete: doomed.slice(at, at + most) });
  }
}
