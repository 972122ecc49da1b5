/**
 * The metadata rebuilt from the journal alone. What comes out is the journal's last state, or that of an earlier time,
 * without the facts of running nodes and without secrets. A rebuild that was cut short leaves a store that says so
 * (`isRestoring`); the next one empties it and starts again.
 */
import type { Clock } from "../base/clock.ts";
import type { ObjectStore } from "../blobs/objects.ts";
import { keys } from "../meta/keys.ts";
import type { MetaStore, Revision } from "../meta/port.ts";
import { Applier } from "./apply.ts";
import { empty, openEmpty, type OpenStore } from "./empty-store.ts";
import { JournalDamaged } from "./errors.ts";
import { chainFrom } from "./coverage.ts";
import { highestRevision, type Inventory, takeInventory } from "./inventory.ts";
import { readSegment } from "./basis.ts";
import { replay } from "./replay.ts";
import { readPart, writeSnapshot } from "./snapshot.ts";
import { type Target, targetsOf } from "./target.ts";
import { isForGood, isWipe } from "./wipe.ts";

export interface RestoreProgress {
  /** Bytes of the journal read so far, and in all. */
  readonly done: number;
  readonly total: number;
  readonly entries: number;
  readonly commits: number;
}

export interface RestoreOptions {
  readonly objects: ObjectStore;
  /** The journal that goes on with the rebuilt store; default the one that it is rebuilt from. */
  readonly journal?: ObjectStore | undefined;
  readonly open: OpenStore;
  readonly clock: Clock;
  /** What is to be done to the filled store before it counts as rebuilt; cut short, all is done again. */
  readonly complete?: ((store: MetaStore) => Promise<unknown>) | undefined;
  /** Milliseconds since the epoch: the state to reach holds every commit answered for until then, and none of later. */
  readonly at?: number | undefined;
  readonly progress?: ((progress: RestoreProgress) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface Restored {
  /** Open, and the caller's. */
  readonly store: MetaStore;
  readonly installation: string;
  /** The revision of the lost store whose state this is. */
  readonly revision: Revision;
  /** Entries in the rebuilt store. */
  readonly entries: number;
  /** Commits replayed onto the snapshot. */
  readonly commits: number;
  /** When the last of them was made, or the snapshot if there was none; milliseconds since the epoch. */
  readonly reached: number;
  /** Names of segments at the end that were damaged: commits that were not answered for may be missing. */
  readonly torn: readonly string[];
  /** When the database was emptied, if the journal has that: what was so deleted is there, and nothing of later. */
  readonly wiped: number | undefined;
}

/** Commits under way at once while a snapshot is read. */
const FLIGHTS = 8;

/** Throws `JournalError`, `StoreUnavailable` for a database in use, and what the stores throw. */
export async function restore(options: RestoreOptions): Promise<Restored> {
  const { objects, journal = objects, open, clock, complete, at, signal } = options;
  const inventory = await takeInventory(objects);
  const known = journal === objects ? inventory : await takeInventory(journal);
  const highest = Math.max(highestRevision(inventory), highestRevision(known));
  let store: MetaStore | undefined;
  try {
    let damage: JournalDamaged | undefined;
    let reach = 0;
    for await (const target of targetsOf(objects, inventory, at)) {
      // What does not reach as far is another state.
      if (damage !== undefined && target.target < reach) break;
      reach = target.target;
      if (store === undefined) store = await openEmpty(open, highest);
      else await empty(store);
      try {
        const filled = await fill(store, target, inventory, options);
        await complete?.(store);
        // The journal begins anew with this: what it has of the lost store stays for earlier times.
        const { installation } = filled;
        const manifest = await writeSnapshot({
          store,
          objects: journal,
          installation,
          clock,
          signal,
        });
        await store.commit({ delete: [keys.restoring] });
        return { store, ...filled, entries: manifest.entries };
      } catch (error) {
        // An older snapshot with the commits since then makes the same state.
        if (!(error instanceof JournalDamaged)) throw error;
        damage ??= error;
      }
    }
    throw damage ?? new JournalDamaged("the journal cannot be read");
  } catch (error) {
    await store?.close();
    throw error;
  }
}

type Filled = Omit<Restored, "store" | "entries">;

async function fill(
  store: MetaStore,
  { snapshot, from, through, target }: Target,
  { segments }: Inventory,
  { objects, progress, signal }: RestoreOptions,
): Promise<Filled> {
  const { runs } = chainFrom(from, segments);
  const read = runs.filter(({ after }) => after < target);
  const total = sum(snapshot?.parts.map((part) => part.bytes)) + sum(read.map(({ size }) => size));
  let done = 0;
  let entries = 0;
  let commits = 0;
  const tell = (bytes: number) => {
    done += bytes;
    progress?.({ done, total, entries, commits });
  };

  const installation = snapshot?.installation ?? (await installationOf(objects, runs));
  const base = new Applier(store, FLIGHTS);
  for (const part of snapshot?.parts ?? []) {
    signal?.throwIfAborted();
    const pairs = await readPart(objects, part);
    if (pairs === undefined)
      throw new JournalDamaged(
        `${part.name} is damaged or gone, and with it the snapshot: put it back from a copy of the journal, or rebuild the state of an earlier time with --at`,
      );
    for (const [key, value] of pairs) await base.set(key, value);
    entries += pairs.length;
    tell(part.bytes);
  }
  await base.finish();

  const torn: string[] = [];
  const changes = new Applier(store, 1);
  let wiped: number | undefined;
  let reached = snapshot?.at ?? 0;
  let revision = from;
  for await (const commit of replay({
    objects,
    segments,
    after: from,
    signal,
    onRead: ({ size }) => tell(size),
    onTorn: (name) => torn.push(name),
  })) {
    if (commit.revision > target) break;
    if (
      isWipe(commit) &&
      (await isForGood({ objects, segments, signal, installation }, commit.revision, target))
    ) {
      wiped = commit.at;
      break;
    }
    for (const { key, value } of commit.changes) await changes.set(key, value);
    commits++;
    reached = Math.max(reached, commit.at);
    revision = commit.revision;
  }
  await changes.finish();
  if (wiped !== undefined && revision < through)
    throw new JournalDamaged("the database was emptied while the snapshot was made");
  return { installation, revision: Math.max(revision, through), commits, reached, torn, wiped };
}

async function installationOf(objects: ObjectStore, runs: Inventory["segments"]): Promise<string> {
  for (const run of runs) {
    const segment = await readSegment(objects, run);
    if (segment !== undefined) return segment.header.installation;
  }
  throw new JournalDamaged("no segment of the journal can be read: put it back from a copy");
}

function sum(numbers: readonly number[] = []): number {
  return numbers.reduce((all, one) => all + one, 0);
}
