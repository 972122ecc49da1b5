/** For decisions that rest upon a read. */
import { type MetaStore, type Read, StoreUnavailable } from "./port.ts";

/** The read, when it shows the truth. Throws `StoreUnavailable` for the last known state. */
export function requireFresh<T extends Read>(read: T): T {
  if (read.stale)
    throw new StoreUnavailable(
      "the metadata store shows only its last known state: start the missing servers of the database",
    );
  return read;
}

/** Members of a database elect a leader in less. */
const ELECTION_MS = 10_000;
const PAUSE_MS = 200;

/** Waits while the truth cannot be reached, in case an election is under way. Throws `StoreUnavailable`. */
export async function waitUntilFresh(store: MetaStore): Promise<void> {
  const deadline = performance.now() + ELECTION_MS;
  for (;;) {
    const read = await store.get([]);
    if (!read.stale) return;
    if (performance.now() > deadline) requireFresh(read);
    await Bun.sleep(PAUSE_MS);
  }
}
