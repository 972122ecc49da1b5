/**
 * A commit that takes the record of the installation away. Holdfast makes none, save where a rebuild that was cut short
 * starts anew: somebody has emptied the database, and what the journal has is meant to fill it again.
 */
import { keys } from "../meta/keys.ts";
import type { Change, Revision } from "../meta/port.ts";
import { replay, type ReplayOptions } from "./replay.ts";

export function isWipe({ changes }: Pick<Change, "changes">): boolean {
  return changes.some(({ key, value }) => key === keys.installation && value === undefined);
}

/** Whether no commit after it, up to `target`, brings the record back. */
export async function isForGood(
  journal: Pick<ReplayOptions, "objects" | "segments" | "signal">,
  wipe: Revision,
  target: Revision,
): Promise<boolean> {
  for await (const { revision, changes } of replay({ ...journal, after: wipe })) {
    if (revision > target) break;
    if (changes.some(({ key, value }) => key === keys.installation && value !== undefined))
      return false;
  }
  return true;
}
