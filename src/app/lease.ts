/** Work that one process of the installation does: it holds a record, and loses it by dying. */
import { keys } from "../meta/keys.ts";
import type { MetaStore } from "../meta/port.ts";
import type { Presence } from "../meta/presence.ts";

/** Whether this process holds the lease, which it takes when nobody living does. Throws `StoreUnavailable`. */
export async function holdLease(
  meta: MetaStore,
  presence: Presence,
  job: string,
): Promise<boolean> {
  const key = keys.lease(job);
  const { entries } = await meta.get([key]);
  const [entry] = entries;
  if (entry !== undefined) {
    const holder = JSON.parse(entry.value) as string;
    if (holder === presence.run) return true;
    if (await presence.isAlive(holder)) return false;
  }
  const outcome = await meta.commit({
    expect: [{ key, version: entry?.version ?? 0 }],
    put: [{ key, value: JSON.stringify(presence.run) }],
  });
  return outcome.ok;
}
