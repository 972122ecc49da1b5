/** Which state of the journal a rebuild is to reach, and from where. */
import type { ObjectStore } from "../blobs/objects.ts";
import type { Revision } from "../meta/port.ts";
import { type Basis, basesOf } from "./basis.ts";
import { JournalDamaged, JournalError } from "./errors.ts";
import type { Inventory } from "./inventory.ts";
import { replay } from "./replay.ts";

/** A basis and the last revision to replay from there. */
export interface Target extends Basis {
  readonly target: Revision;
}

/** The ways to the state at time `at` (milliseconds since the epoch; the latest without), the best one first. */
export async function* targetsOf(
  objects: ObjectStore,
  inventory: Inventory,
  at: number | undefined,
): AsyncGenerator<Target, void, void> {
  let oldest: number | undefined;
  let found = false;
  for await (const basis of basesOf(objects, inventory)) {
    const { end, missed, through } = basis;
    oldest = basis.snapshot?.at ?? (await firstCommit(objects, inventory));
    // Before the first commit there was no store.
    if (at !== undefined && !(oldest !== undefined && oldest <= at)) continue;
    const target = at === undefined ? end : await lastBefore(objects, inventory, basis, at);
    if (target < through) continue;
    if (target === end && missed > end)
      throw new JournalDamaged(
        `a snapshot at revision ${missed} is damaged or lacks segments, and what came before it is older than the state asked for: put the journal's missing objects back from a copy, or rebuild an earlier state with --at`,
      );
    found = true;
    yield { ...basis, target };
  }
  if (found) return;
  if (inventory.segments.length === 0 && inventory.snapshots.length === 0)
    throw new JournalError(
      "there is no journal here: correct where the blobs are configured to be, or restore the journal/ folder there",
    );
  throw new JournalError(
    oldest === undefined
      ? "the journal has no whole snapshot and lacks its beginning: put its missing objects back from a copy"
      : `the journal does not reach back to ${time(at)}: its oldest state is that of ${time(oldest)}`,
  );
}

/** When it was made. */
async function firstCommit(
  objects: ObjectStore,
  { segments }: Inventory,
): Promise<number | undefined> {
  for await (const { at } of replay({ objects, segments, after: 0 })) return at;
  return undefined;
}

async function lastBefore(
  objects: ObjectStore,
  { segments }: Inventory,
  { from, end }: Basis,
  at: number,
): Promise<Revision> {
  let last = from;
  for await (const commit of replay({ objects, segments, after: from })) {
    if (commit.at > at) return last;
    last = commit.revision;
  }
  return end;
}

function time(at: number | undefined): string {
  return at === undefined ? "that time" : new Date(at).toISOString();
}
