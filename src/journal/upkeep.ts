/** Keeping the journal short: when a snapshot is due, and what it makes superfluous. */
import type { Clock } from "../base/clock.ts";
import type { ObjectStore } from "../blobs/objects.ts";
import { basesOf } from "./basis.ts";
import { deleteAll } from "./delete-all.ts";
import { type Inventory, takeInventory } from "./inventory.ts";
import { mergeSegments } from "./merge.ts";
import { partOwner, PARTS, partsFolder } from "./names.ts";
import { type Manifest, readManifest } from "./snapshot.ts";

export interface UpkeepOptions {
  readonly objects: ObjectStore;
  readonly clock: Clock;
  /** Milliseconds back to which every state can be rebuilt. */
  readonly windowMs: number;
  /** Writes a snapshot: a recorder's method. */
  readonly snapshot: (signal?: AbortSignal) => Promise<Manifest>;
  readonly signal?: AbortSignal | undefined;
}

export interface JournalSize {
  readonly segments: number;
  /** Of the segments. */
  readonly bytes: number;
  readonly snapshots: number;
  /** When the newest whole snapshot was made; milliseconds since the epoch. */
  readonly snapshotAt: number | undefined;
  /** Segments that a rebuild would read after it, and their bytes. */
  readonly sinceSegments: number;
  readonly sinceBytes: number;
}

const SINCE_BYTES_MAX = 64 * 2 ** 20;
const SINCE_SEGMENTS_MAX = 5000;
/** What segments without commits come to. */
const IDLE_BYTES = 16_384;
const SINCE_MS_MAX = 86_400_000;
/** Clocks of nodes may differ by this much. */
const SKEW_MS = 5 * 60_000;
/** A snapshot is made in less: parts of this age without one were left behind. */
const ORPHANED_MS = 86_400_000;

/** Writes a snapshot if one is due, removes what nothing within the window needs, and merges. For one node at a time. */
export async function maintainJournal(options: UpkeepOptions): Promise<void> {
  const { objects, clock, snapshot, signal } = options;
  if (isSnapshotDue(await measureJournal(objects), clock)) await snapshot(signal);
  await trimJournal(options);
  await mergeSegments(options);
}

/** From a listing. */
export async function measureJournal(objects: ObjectStore): Promise<JournalSize> {
  const inventory = await takeInventory(objects);
  const { segments, snapshots } = inventory;
  const newest = await newestBefore(objects, inventory, Infinity);
  const since = segments.filter(({ last }) => last > (newest?.from ?? 0));
  return {
    segments: segments.length,
    bytes: segments.reduce((sum, { size }) => sum + size, 0),
    snapshots: snapshots.length,
    snapshotAt: newest?.at,
    sinceSegments: since.length,
    sinceBytes: since.reduce((sum, { size }) => sum + size, 0),
  };
}

export function isSnapshotDue(size: JournalSize, clock: Clock): boolean {
  if (size.sinceBytes > SINCE_BYTES_MAX || size.sinceSegments > SINCE_SEGMENTS_MAX) return true;
  const old = size.snapshotAt === undefined || clock.now() - size.snapshotAt > SINCE_MS_MAX;
  return old && size.sinceBytes > IDLE_BYTES;
}

/** Removes what is older than the newest snapshot from before the window. Any number of nodes may do it at once. */
export async function trimJournal({
  objects,
  clock,
  windowMs,
  signal,
}: Omit<UpkeepOptions, "snapshot">): Promise<void> {
  const inventory = await takeInventory(objects);
  const kept = await newestBefore(objects, inventory, clock.now() - windowMs - SKEW_MS);
  if (kept !== undefined) {
    for (const { name, from } of inventory.snapshots) {
      if (from >= kept.from) continue;
      signal?.throwIfAborted();
      const parts = (await readManifest(objects, name))?.parts ?? [];
      // The manifest first: without it its parts are nobody's, and never half of something.
      await objects.delete(name);
      for (const part of parts) await objects.delete(part.name);
    }
    const superfluous = inventory.segments.filter(({ last }) => last <= kept.from);
    await deleteAll(
      objects,
      superfluous.map(({ name }) => name),
      signal,
    );
  }
  await removeOrphans(objects, clock, signal);
}

/** The newest snapshot that was made until `at` and can be rebuilt from. */
async function newestBefore(
  objects: ObjectStore,
  inventory: Inventory,
  at: number,
): Promise<Manifest | undefined> {
  for await (const { snapshot } of basesOf(objects, inventory))
    if (snapshot !== undefined && snapshot.at <= at && (await hasParts(objects, snapshot)))
      return snapshot;
  return undefined;
}

async function hasParts(objects: ObjectStore, { id, parts }: Manifest): Promise<boolean> {
  const sizes = new Map<string, number>();
  for await (const { name, size } of objects.list(partsFolder(id))) sizes.set(name, size);
  return parts.every(({ name, bytes }) => sizes.get(name) === bytes);
}

async function removeOrphans(
  objects: ObjectStore,
  clock: Clock,
  signal: AbortSignal | undefined,
): Promise<void> {
  const old: string[] = [];
  for await (const { name, modified } of objects.list(PARTS))
    if (modified < clock.now() - ORPHANED_MS) old.push(name);
  if (old.length === 0) return;
  const { snapshots } = await takeInventory(objects);
  const owners = new Set(snapshots.map(({ name }) => name.slice(name.lastIndexOf(".") + 1)));
  for (const name of old) {
    signal?.throwIfAborted();
    if (!owners.has(partOwner(name) ?? "")) await objects.delete(name);
  }
}
