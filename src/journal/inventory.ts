/** What a listing of the journal shows. */
import type { ObjectStore } from "../blobs/objects.ts";
import type { Revision } from "../meta/port.ts";
import {
  parseSegmentName,
  parseSnapshotName,
  SEGMENTS,
  type SegmentRun,
  type SnapshotName,
  SNAPSHOTS,
} from "./names.ts";

export interface StoredSegment extends SegmentRun {
  /** Bytes. */
  readonly size: number;
  /** Milliseconds since the epoch. */
  readonly modified: number;
}

export interface Inventory {
  readonly segments: readonly StoredSegment[];
  /** The newest first. */
  readonly snapshots: readonly SnapshotName[];
}

/** Memory: a name for each segment. */
export async function takeInventory(objects: ObjectStore): Promise<Inventory> {
  const snapshots: SnapshotName[] = [];
  for await (const { name } of objects.list(SNAPSHOTS)) {
    const snapshot = parseSnapshotName(name);
    if (snapshot !== undefined) snapshots.push(snapshot);
  }
  // After the snapshots, so that the segments that those rest upon are seen.
  const segments: StoredSegment[] = [];
  for await (const { name, size, modified } of objects.list(SEGMENTS)) {
    const segment = parseSegmentName(name);
    if (segment !== undefined) segments.push({ ...segment, size, modified });
  }
  snapshots.sort((a, b) => b.from - a.from || b.through - a.through);
  return { segments, snapshots };
}

/** The highest revision that any object of the journal names; 0 for none. */
export function highestRevision({ segments, snapshots }: Inventory): Revision {
  let highest = 0;
  for (const { last } of segments) highest = Math.max(highest, last);
  for (const { through } of snapshots) highest = Math.max(highest, through);
  return highest;
}
