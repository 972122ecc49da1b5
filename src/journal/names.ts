/**
 * Names of the journal's objects. They say what each object covers, so that a listing alone, in whatever order it
 * comes, tells how far the journal reaches.
 */
import type { Revision } from "../meta/port.ts";

export const SEGMENTS = "journal/segments/";
export const SNAPSHOTS = "journal/snapshots/";
export const PARTS = "journal/parts/";

/** Every commit after revision `after`, up to `last` and including it, is in the segment. */
export interface SegmentRun {
  readonly name: string;
  readonly after: Revision;
  readonly last: Revision;
}

/** The snapshot was read while the store went from revision `from` to `through`. */
export interface SnapshotName {
  readonly name: string;
  readonly from: Revision;
  readonly through: Revision;
}

const DIGITS = 16;
const SEGMENT = /^journal\/segments\/(\d{16})-(\d{16})\.[A-Za-z0-9_-]+$/;
const SNAPSHOT = /^journal\/snapshots\/(\d{16})-(\d{16})\.[A-Za-z0-9_-]+$/;
const WRITER = /^[A-Za-z0-9_-]+$/;

export function segmentName(after: Revision, last: Revision, writer: string): string {
  return `${SEGMENTS}${padded(after)}-${padded(last)}.${writer}`;
}

/** `undefined` for an object that is no segment. */
export function parseSegmentName(name: string): SegmentRun | undefined {
  const [, after, last] = SEGMENT.exec(name) ?? [];
  return after === undefined ? undefined : { name, after: Number(after), last: Number(last) };
}

export function snapshotName(from: Revision, through: Revision, id: string): string {
  return `${SNAPSHOTS}${padded(from)}-${padded(through)}.${id}`;
}

/** `undefined` for an object that is no snapshot. */
export function parseSnapshotName(name: string): SnapshotName | undefined {
  const [, from, through] = SNAPSHOT.exec(name) ?? [];
  return from === undefined ? undefined : { name, from: Number(from), through: Number(through) };
}

/** The folder of a snapshot's parts, ending in `/`. */
export function partsFolder(id: string): string {
  return `${PARTS}${id}/`;
}

/** The id of the snapshot that a part belongs to. */
export function partOwner(name: string): string | undefined {
  return name.startsWith(PARTS) ? name.slice(PARTS.length).split("/")[0] : undefined;
}

export function requireWriterName(writer: string): void {
  if (!WRITER.test(writer))
    throw new RangeError(`${JSON.stringify(writer)} cannot name a writer of the journal`);
}

function padded(revision: Revision): string {
  return revision.toString().padStart(DIGITS, "0");
}
