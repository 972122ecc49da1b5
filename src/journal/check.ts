/** Whether every object of the journal is what was written. */
import type { ObjectStore } from "../blobs/objects.ts";
import { readSegment } from "./basis.ts";
import { chainFrom } from "./coverage.ts";
import { type StoredSegment, takeInventory } from "./inventory.ts";
import { readManifest, readPart } from "./snapshot.ts";

export interface JournalProblem {
  /** Name of the object. */
  readonly object: string;
  readonly problem: string;
  /** Whether a state is lost with it; else something else holds the same. */
  readonly loses: boolean;
}

/** Reads the whole journal. `read` is told of the bytes as they come. */
export async function* checkJournal(
  objects: ObjectStore,
  { read, signal }: { readonly read?: (bytes: number) => void; readonly signal?: AbortSignal } = {},
): AsyncGenerator<JournalProblem, void, void> {
  const { segments, snapshots } = await takeInventory(objects);
  const whole: StoredSegment[] = [];
  const damaged: StoredSegment[] = [];
  for (const segment of segments) {
    signal?.throwIfAborted();
    const decoded = await readSegment(objects, segment);
    read?.(segment.size);
    (decoded?.whole ? whole : damaged).push(segment);
  }
  for (const { name, after, last } of damaged) {
    const loses = chainFrom(after, whole).end < last;
    yield { object: name, problem: "damaged or gone", loses };
  }
  for (const { name, from, through } of snapshots) {
    signal?.throwIfAborted();
    const { end } = chainFrom(from, whole);
    const older = [...snapshots.map((one) => one.from).filter((one) => one < from), 0];
    const loses = from === 0 || !older.some((start) => chainFrom(start, whole).end >= end);
    const manifest = await readManifest(objects, name);
    if (manifest === undefined) {
      yield { object: name, problem: "damaged or gone", loses };
      continue;
    }
    if (end < through) yield { object: name, problem: "lacks segments", loses };
    for (const part of manifest.parts) {
      signal?.throwIfAborted();
      if ((await readPart(objects, part)) === undefined)
        yield { object: part.name, problem: "damaged or gone", loses };
      read?.(part.bytes);
    }
  }
}
