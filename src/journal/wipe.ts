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

/** The id in a record of an installation. */
export function installationIn(value: string | undefined): string | undefined {
  return value === undefined ? undefined : (JSON.parse(value) as { readonly id?: string }).id;
}

/** Whether no commit after it, up to `target`, brings the record back; that of another one is no sign of a rebuild. */
export async function isForGood(
  {
    installation,
    ...journal
  }: Pick<ReplayOptions, "objects" | "segments" | "signal"> & { readonly installation: string },
  wipe: Revision,
  target: Revision,
): Promise<boolean> {
  for await (const { revision, changes } of replay({ ...journal, after: wipe })) {
    if (revision > target) break;
    const back = changes.findLast(({ key }) => key === keys.installation)?.value;
    if (installationIn(back) === installation) return false;
  }
  return true;
}
