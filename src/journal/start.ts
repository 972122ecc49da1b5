/** Taking the journal up where it ends. */
import { requireFresh } from "../meta/fresh.ts";
import { findEnd } from "./basis.ts";
import { JournalAhead } from "./errors.ts";
import { highestRevision, takeInventory } from "./inventory.ts";
import { requireWriterName } from "./names.ts";
import { forgetOldPositions } from "./position.ts";
import { Recorder, type RecorderOptions } from "./recorder.ts";

/**
 * Starts recording from the end of the journal, or with a snapshot where there is none to go on from.
 * Throws `JournalAhead`, `JournalForeign`, and what the stores throw.
 */
export async function startRecorder(options: RecorderOptions): Promise<Recorder> {
  const { store, objects, installation, writer, clock } = options;
  requireWriterName(writer);
  // Before the database, which no other node's segments are ever ahead of.
  const inventory = await takeInventory(objects);
  const end = await findEnd(objects, inventory, installation);
  const { revision } = requireFresh(await store.get([]));
  // What is damaged, or lies behind a gap, tells as well how far the database had come.
  const highest = highestRevision(inventory);
  if (highest > revision)
    throw new JournalAhead(
      `the journal reaches revision ${highest}, but the database only ${revision}: the database has been lost or put back to an earlier state; empty it and run \`holdfast rebuild\``,
    );
  await forgetOldPositions(store, clock);
  return new Recorder(options, end);
}
