/** From where a state can be rebuilt, and how far. */
import type { ObjectStore } from "../blobs/objects.ts";
import type { Revision } from "../meta/port.ts";
import { chainFrom } from "./coverage.ts";
import { JournalForeign } from "./errors.ts";
import type { Inventory, StoredSegment } from "./inventory.ts";
import { decodeSegment, type DecodedSegment } from "./segment.ts";
import { type Manifest, readManifest } from "./snapshot.ts";

/** A state that can be had: that of every revision from `through` to `end`. */
export interface Basis {
  /** `undefined` for the empty store at revision 0. */
  readonly snapshot: Manifest | undefined;
  /** Commits after this one are to be replayed. */
  readonly from: Revision;
  readonly through: Revision;
  readonly end: Revision;
  /** Where those would have ended that are newer and were passed over: a state beyond `end` is lost with them. */
  readonly missed: Revision;
}

/**
 * Every basis that the journal has, the newest first. Snapshots that are damaged or lack segments are passed over, and
 * so are those of an emptied store, which once were written: nothing has ever been built upon one.
 */
export async function* basesOf(
  objects: ObjectStore,
  { snapshots, segments }: Inventory,
): AsyncGenerator<Basis, void, void> {
  let missed = 0;
  for (const { name, from, through } of snapshots) {
    const { end } = chainFrom(from, segments);
    const snapshot = end < through ? undefined : await readManifest(objects, name);
    if (snapshot?.entries === 0) continue;
    if (snapshot !== undefined) yield { snapshot, from, through, end, missed };
    else missed = Math.max(missed, through, end);
  }
  const { end } = chainFrom(0, segments);
  if (end > 0) yield { snapshot: undefined, from: 0, through: 0, end, missed };
}

/** A segment that is whole and is what its name says, or what is left of it. */
export async function readSegment(
  objects: ObjectStore,
  segment: StoredSegment,
): Promise<DecodedSegment | undefined> {
  return decodedAs(segment, await objects.get(segment.name));
}

/** The same of its bytes. */
export function decodedAs(
  { after, last }: StoredSegment,
  bytes: Uint8Array<ArrayBuffer> | undefined,
): DecodedSegment | undefined {
  const decoded = bytes && decodeSegment(bytes);
  if (decoded === undefined) return undefined;
  const { header } = decoded;
  return header.after === after && header.last === last ? decoded : undefined;
}

/**
 * The revision up to which the journal can rebuild the state: 0 for an empty journal, `undefined` for one that only a
 * new snapshot makes whole again. A segment at the end that was torn does not count.
 * Throws `JournalForeign` for the journal of another installation.
 */
export async function findEnd(
  objects: ObjectStore,
  inventory: Inventory,
  installation: string,
): Promise<Revision | undefined> {
  if (inventory.segments.length === 0 && inventory.snapshots.length === 0) return 0;
  for await (const { snapshot, from, through } of basesOf(objects, inventory)) {
    if (snapshot !== undefined) requireOwn(snapshot.installation, installation);
    const end = await soundEnd(objects, from, inventory.segments, installation);
    if (end >= through) return end;
  }
  return undefined;
}

async function soundEnd(
  objects: ObjectStore,
  from: Revision,
  segments: readonly StoredSegment[],
  installation: string,
): Promise<Revision> {
  let candidates = segments;
  for (;;) {
    const { runs, end } = chainFrom(from, candidates);
    const last = runs.at(-1);
    if (last === undefined) return end;
    const decoded = await readSegment(objects, last);
    if (decoded !== undefined) requireOwn(decoded.header.installation, installation);
    if (decoded?.whole) return end;
    candidates = candidates.filter((segment) => segment !== last);
  }
}

export function requireOwn(found: string, installation: string): void {
  if (found !== installation)
    throw new JournalForeign(
      `the journal belongs to installation ${found}, the database to ${installation}: correct which of the two is configured`,
    );
}
