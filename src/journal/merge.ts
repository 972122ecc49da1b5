/**
 * Many small segments become few large ones. A bucket holds one for every moment in which commits were waited for;
 * whoever starts or rebuilds lists and reads them all. Times and order of the commits stay, so nothing is lost for
 * a rebuild of an earlier time.
 */
import { randomHex, type Clock } from "../base/clock.ts";
import type { ObjectStore } from "../blobs/objects.ts";
import { readSegment } from "./basis.ts";
import { chainFrom } from "./coverage.ts";
import { deleteAll } from "./delete-all.ts";
import { JournalDamaged } from "./errors.ts";
import { type StoredSegment, takeInventory } from "./inventory.ts";
import { segmentName } from "./names.ts";
import { replay } from "./replay.ts";
import { commitLine, encodeSegment } from "./segment.ts";

/** Bytes, as stored, up to which a segment is small, and of the small ones that become one. */
const SMALL = 128 * 1024;
const BATCH = 2 ** 20;
/** Fewer are not worth the writing. */
const BATCH_MIN = 32;
const MERGED = /\.merged-[0-9a-f]{8}$/;
/** Those at the end of the journal, which a starting node looks at, are left alone. */
const SETTLED_MS = 10 * 60_000;

export interface MergeOptions {
  readonly objects: ObjectStore;
  readonly clock: Clock;
  readonly signal?: AbortSignal | undefined;
}

/** For one node at a time. Throws `JournalDamaged` with the name of a segment that cannot be read. */
export async function mergeSegments({ objects, clock, signal }: MergeOptions): Promise<void> {
  const { segments } = await takeInventory(objects);
  const isSettled = ({ modified }: StoredSegment) => modified < clock.now() - SETTLED_MS;
  // Long after the merging: one who lists meanwhile sees the small ones or the large one, and never neither.
  const merged = segments.filter(({ name }) => MERGED.test(name));
  for (const large of merged.filter(isSettled))
    await removeContained(objects, large, segments, signal);
  for (const batch of batchesOf([...merged, ...segments.filter(isSettled)])) {
    signal?.throwIfAborted();
    await merge(objects, clock, batch, signal);
  }
}

/** Runs of small segments that follow one another. */
function* batchesOf(segments: readonly StoredSegment[]): Generator<StoredSegment[], void, void> {
  for (const chain of chainsOf(segments)) {
    let batch: StoredSegment[] = [];
    let bytes = 0;
    for (const segment of chain) {
      if (segment.size > SMALL || bytes + segment.size > BATCH) {
        if (batch.length >= BATCH_MIN) yield batch;
        batch = [];
        bytes = 0;
      }
      if (segment.size > SMALL) continue;
      batch.push(segment);
      bytes += segment.size;
    }
    if (batch.length >= BATCH_MIN) yield batch;
  }
}

function* chainsOf(segments: readonly StoredSegment[]): Generator<readonly StoredSegment[]> {
  let left = segments;
  while (left.length > 0) {
    const start = left.reduce((least, { after }) => Math.min(least, after), Infinity);
    const { runs, end } = chainFrom(start, left);
    yield runs;
    left = left.filter(({ after }) => after > end);
  }
}

async function merge(
  objects: ObjectStore,
  clock: Clock,
  batch: readonly StoredSegment[],
  signal: AbortSignal | undefined,
): Promise<void> {
  const [first, last] = [batch[0], batch.at(-1)];
  if (first === undefined || last === undefined) return;
  const lines: string[] = [];
  const onTorn = (name: string): never => {
    throw new JournalDamaged(`${name} is damaged: put it back from a copy of the journal`);
  };
  const source = { objects, segments: batch, after: first.after, signal, onTorn };
  for await (const { revision, changes, at } of replay(source)) {
    const line = commitLine({ revision, changes }, at);
    if (line !== undefined) lines.push(line);
  }
  const { header } = (await readSegment(objects, first)) ?? onTorn(first.name);
  const run = { after: first.after, last: last.last };
  const writer = `merged-${randomHex(4)}`;
  const { installation } = header;
  const bytes = await encodeSegment({ ...run, installation, writer, at: clock.now() }, lines);
  await objects.put(segmentName(run.after, run.last, writer), bytes);
}

async function removeContained(
  objects: ObjectStore,
  large: StoredSegment,
  segments: readonly StoredSegment[],
  signal: AbortSignal | undefined,
): Promise<void> {
  const contained = segments.filter((one) => {
    if (one.after < large.after || one.last > large.last) return false;
    // Of two with equal runs each would remove the other, when two nodes are at it.
    const isEqual = one.after === large.after && one.last === large.last;
    return !isEqual || one.name > large.name;
  });
  if (contained.length === 0 || !(await readSegment(objects, large))?.whole) return;
  await deleteAll(
    objects,
    contained.map(({ name }) => name),
    signal,
  );
}
