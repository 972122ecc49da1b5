/**
 * A backup: the newest snapshot of the journal and the segments that make it exact, as one tar file. Unpacked, it is a
 * journal. Its first file says what it is and how much there is of it.
 */
import type { Clock } from "../base/clock.ts";
import type { ObjectStore } from "../blobs/objects.ts";
import { requireFresh } from "../meta/fresh.ts";
import { SCHEMA_VERSION } from "../meta/keys.ts";
import { type MetaStore, type Revision, StoreUnavailable } from "../meta/port.ts";
import { type Basis, basesOf, decodedAs } from "./basis.ts";
import { chainFrom } from "./coverage.ts";
import { JournalDamaged } from "./errors.ts";
import { type Inventory, takeInventory } from "./inventory.ts";
import { snapshotName } from "./names.ts";
import type { Recorder } from "./recorder.ts";
import { sha256, unseal } from "./sealed.ts";
import { tarEnd, tarHeader, tarPadding, type TarFile } from "./tar.ts";

/** Version of the form of backups that this program writes. */
export const BACKUP_FORMAT = 1;
/** Name of the first file. */
export const LABEL = "holdfast-backup.json";

/** The first file. */
export interface BackupLabel {
  readonly holdfast: "backup";
  readonly format: number;
  /** Version of the key schema of its records. */
  readonly schema: number;
  readonly installation: string;
  /** Every commit up to this revision of the store is in it. */
  readonly revision: Revision;
  /** When it was made; milliseconds since the epoch. */
  readonly at: number;
  /** Files beside this one, and their bytes. */
  readonly files: number;
  readonly bytes: number;
}

export interface BackupOptions {
  readonly store: MetaStore;
  readonly objects: ObjectStore;
  readonly installation: string;
  readonly recorder: Pick<Recorder, "seal" | "snapshot">;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

export interface Backup {
  /** Of the whole file. */
  readonly bytes: number;
  /** The file. Throws `JournalDamaged` for an object that went meanwhile. */
  readonly chunks: AsyncIterable<Uint8Array<ArrayBuffer>>;
}

/** An object that the backup holds, and whether bytes are what was written. */
interface Part extends TarFile {
  readonly isSound: (bytes: Uint8Array<ArrayBuffer>) => boolean;
}

/** Milliseconds for the journal to come to what has been committed. */
const SEAL_MS = 60_000;

/** Everything that has been answered for when it is called is in the backup. Throws `StoreUnavailable`. */
export async function openBackup(options: BackupOptions): Promise<Backup> {
  const { store, objects, installation, recorder, clock, signal } = options;
  const { revision } = requireFresh(await store.get([]));
  await sealed(recorder, revision, signal);
  let parts = await soundParts(objects, revision, signal);
  if (parts === undefined) {
    // What the journal has is damaged, or went under the reading: a snapshot of now needs none of it.
    await recorder.snapshot(signal);
    parts = await soundParts(objects, revision, signal);
  }
  if (parts === undefined)
    throw new JournalDamaged("the journal cannot be read back: see `holdfast verify`");
  const at = clock.now();
  const bytes = parts.reduce((sum, { size }) => sum + size, 0);
  const label: BackupLabel = {
    holdfast: "backup",
    format: BACKUP_FORMAT,
    schema: SCHEMA_VERSION,
    installation,
    revision,
    at,
    files: parts.length,
    bytes,
  };
  const first = new TextEncoder().encode(`${JSON.stringify(label)}\n`);
  const files: readonly TarFile[] = [{ name: LABEL, size: first.byteLength }, ...parts];
  const total = files.reduce((sum, file) => sum + sizeInTar(file), tarEnd().byteLength);
  return { bytes: total, chunks: chunksOf(objects, first, parts, at, signal) };
}

async function sealed(
  recorder: BackupOptions["recorder"],
  revision: Revision,
  signal: AbortSignal,
): Promise<void> {
  const late = AbortSignal.timeout(SEAL_MS);
  try {
    await recorder.seal(revision, AbortSignal.any([signal, late]));
  } catch (error) {
    if (signal.aborted || !late.aborted) throw error;
    throw new StoreUnavailable(
      `the journal has not come to the present state within ${SEAL_MS / 1000} s: see the server's log`,
      { cause: error },
    );
  }
}

/** The objects of the newest basis that reaches `revision` and is whole: each has been read. */
async function soundParts(
  objects: ObjectStore,
  revision: Revision,
  signal: AbortSignal,
): Promise<readonly Part[] | undefined> {
  const inventory = await takeInventory(objects);
  for await (const basis of basesOf(objects, inventory)) {
    if (basis.end < revision) continue;
    const parts = await partsOf(objects, basis, inventory.segments);
    if (parts !== undefined && (await areSound(objects, parts, signal))) return parts;
  }
  return undefined;
}

/** A snapshot's parts, the segments after it, and, at last, what makes a snapshot of the parts. */
async function partsOf(
  objects: ObjectStore,
  { snapshot, from, through }: Basis,
  segments: Inventory["segments"],
): Promise<readonly Part[] | undefined> {
  const runs = chainFrom(from, segments).runs.map((run): Part => ({
    name: run.name,
    size: run.size,
    isSound: (bytes) => decodedAs(run, bytes)?.whole === true,
  }));
  if (snapshot === undefined) return runs;
  const name = snapshotName(from, through, snapshot.id);
  const manifest = await objects.get(name);
  if (manifest === undefined) return undefined;
  return [
    ...snapshot.parts.map((part): Part => ({
      name: part.name,
      size: part.bytes,
      isSound: (bytes) => sha256(bytes) === part.sha256,
    })),
    ...runs,
    { name, size: manifest.byteLength, isSound: (bytes) => unseal(bytes)?.whole === true },
  ];
}

async function areSound(
  objects: ObjectStore,
  parts: readonly Part[],
  signal: AbortSignal,
): Promise<boolean> {
  for (const part of parts) {
    signal.throwIfAborted();
    if ((await read(objects, part)) === undefined) return false;
  }
  return true;
}

async function read(
  objects: ObjectStore,
  { name, size, isSound }: Part,
): Promise<Uint8Array<ArrayBuffer> | undefined> {
  const bytes = await objects.get(name);
  return bytes?.byteLength === size && isSound(bytes) ? bytes : undefined;
}

async function* chunksOf(
  objects: ObjectStore,
  label: Uint8Array<ArrayBuffer>,
  parts: readonly Part[],
  at: number,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array<ArrayBuffer>, void, void> {
  yield* fileOf({ name: LABEL, size: label.byteLength }, label, at);
  for (const part of parts) {
    signal.throwIfAborted();
    const bytes = await read(objects, part);
    if (bytes === undefined)
      throw new JournalDamaged(`${part.name} went while the backup was made: make it again`);
    yield* fileOf(part, bytes, at);
  }
  yield tarEnd();
}

function* fileOf(
  file: TarFile,
  bytes: Uint8Array<ArrayBuffer>,
  at: number,
): Generator<Uint8Array<ArrayBuffer>, void, void> {
  yield tarHeader(file, at);
  yield bytes;
  const padding = tarPadding(file.size);
  if (padding.byteLength > 0) yield padding;
}

function sizeInTar({ name, size }: TarFile): number {
  return tarHeader({ name, size }, 0).byteLength + size + tarPadding(size).byteLength;
}
