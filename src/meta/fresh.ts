/** For decisions that rest upon a read. */
import { type Read, StoreUnavailable } from "./port.ts";

/** The read, when it shows the truth. Throws `StoreUnavailable` for the last known state. */
export function requireFresh<T extends Read>(read: T): T {
  if (read.stale)
    throw new StoreUnavailable(
      "the metadata store shows only its last known state: start the missing servers of the database",
    );
  return read;
}
