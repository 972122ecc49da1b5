/**
 * A snapshot: every journaled entry, in parts, and a manifest written last. The scan is of no one moment: it begins at
 * revision `from` and ends at `through`. Replaying the commits after `from` makes it exact from `through` on, since a
 * key that no commit touched after `from` was read as it is, and one that was touched gets its last value again.
 */
import { randomHex, type Clock } from "../base/clock.ts";
import type { ObjectStore } from "../blobs/objects.ts";
import { requireFresh } from "../meta/fresh.ts";
import { isJournaled, keys } from "../meta/keys.ts";
import { type MetaStore, type Revision, StoreUnavailable } from "../meta/port.ts";
import { isRestoring } from "./empty-store.ts";
import { EMPTIED, JournalError } from "./errors.ts";
import { partsFolder, snapshotName } from "./names.ts";
import { pages } from "../meta/pages.ts";
import { seal, sha256, unseal } from "./sealed.ts";
import { FORMAT, requireFormat } from "./segment.ts";

export interface SnapshotPart {
  readonly name: string;
  readonly entries: number;
  /** Of the stored object. */
  readonly bytes: number;
  readonly sha256: string;
}

interface ManifestHeader {
  readonly holdfast: "snapshot";
  readonly format: number;
  readonly id: string;
  readonly installation: string;
  readonly from: Revision;
  readonly through: Revision;
  /** When the scan had ended; milliseconds since the epoch. */
  readonly at: number;
  readonly entries: number;
}

export interface Manifest extends Omit<ManifestHeader, "holdfast" | "format"> {
  readonly parts: readonly SnapshotPart[];
}

export interface SnapshotOptions {
  readonly store: MetaStore;
  readonly objects: ObjectStore;
  readonly installation: string;
  readonly clock: Clock;
  /** Resolves once segments hold every commit up to a revision, durably. Left out where nobody else commits. */
  readonly sealed?: (revision: Revision) => Promise<void>;
  readonly signal?: AbortSignal | undefined;
}

/** Characters of a part before it is compressed. */
const PART_CHARACTERS = 4 * 2 ** 20;

/**
 * Throws `JournalError` for a store without the record of its installation: it was emptied, and its snapshot would be
 * taken for the latest state.
 */
export async function writeSnapshot(options: SnapshotOptions): Promise<Manifest> {
  const { store, objects, installation, clock, sealed, signal } = options;
  const id = randomHex(8);
  if (sealed !== undefined) await requireFilled(store);
  const { revision: from } = requireFresh(await store.get([]));
  const parts: SnapshotPart[] = [];
  let lines: string[] = [];
  let characters = 0;
  const flush = async () => {
    if (lines.length === 0) return;
    const name = `${partsFolder(id)}${parts.length.toString().padStart(6, "0")}`;
    const bytes = await seal({ holdfast: "part", format: FORMAT, id }, lines);
    await objects.put(name, bytes);
    parts.push({ name, entries: lines.length, bytes: bytes.byteLength, sha256: sha256(bytes) });
    lines = [];
    characters = 0;
  };
  let through = from;
  let isOurs = false;
  for await (const page of pages(store, "")) {
    signal?.throwIfAborted();
    requireFresh(page);
    for (const { key, value } of page.entries) {
      if (!isJournaled(key)) continue;
      isOurs ||= key === keys.installation;
      const line = JSON.stringify([key, value]);
      lines.push(line);
      characters += line.length;
      if (characters >= PART_CHARACTERS) await flush();
    }
    if (sealed !== undefined) through = Math.max(through, page.revision);
  }
  await flush();
  if (!isOurs) throw new JournalError(EMPTIED);
  const at = clock.now();
  if (through > from) await sealed?.(through);
  // It may have been emptied under the scan.
  if (sealed !== undefined) await requireFilled(store);
  signal?.throwIfAborted();
  const entries = parts.reduce((sum, part) => sum + part.entries, 0);
  const header = { id, installation, from, through, at, entries };
  const manifest = await seal(
    { holdfast: "snapshot", format: FORMAT, ...header } satisfies ManifestHeader,
    parts.map((part) => JSON.stringify(part)),
  );
  await objects.put(snapshotName(from, through, id), manifest);
  return { ...header, parts };
}

/** A rebuild that has begun has a snapshot of its own at its end: one of before would be taken for the whole state. */
async function requireFilled(store: MetaStore): Promise<void> {
  if (await isRestoring(store))
    throw new StoreUnavailable("the database is being rebuilt: no snapshot of it can be made now");
}

/** `undefined` when it is gone or damaged. */
export async function readManifest(
  objects: ObjectStore,
  name: string,
): Promise<Manifest | undefined> {
  const bytes = await objects.get(name);
  const unsealed = bytes && unseal(bytes);
  const header = unsealed?.header as ManifestHeader | undefined;
  if (!unsealed?.whole || header?.holdfast !== "snapshot") return undefined;
  requireFormat(header.format);
  return { ...header, parts: unsealed.lines.map((line) => JSON.parse(line) as SnapshotPart) };
}

/** The entries of a part, or `undefined` when it is gone or damaged. */
export async function readPart(
  objects: ObjectStore,
  part: SnapshotPart,
): Promise<[key: string, value: string][] | undefined> {
  const bytes = await objects.get(part.name);
  if (bytes === undefined || sha256(bytes) !== part.sha256) return undefined;
  return unseal(bytes)?.lines.map((line) => JSON.parse(line) as [string, string]);
}
