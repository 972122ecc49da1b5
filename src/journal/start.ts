/** Taking the journal up where it ends. */
import { findEnd } from "./basis.ts";
import { JournalAhead } from "./errors.ts";
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
  const end = await findEnd(objects, installation);
  const { revision } = await store.get([]);
  if (end !== undefined && end > revision)
    throw new JournalAhead(
      `the journal reaches revision ${end}, but the database only ${revision}: the database has been lost or put back to an earlier state; empty it and run \`holdfast rebuild\``,
    );
  await forgetOldPositions(store, clock);
  return new Recorder(options, end);
}
