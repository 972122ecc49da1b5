/** A backup as a journal that can be read. */
import type { ObjectInfo, ObjectStore } from "../blobs/objects.ts";
import { BACKUP_FORMAT, type BackupLabel, LABEL } from "./backup.ts";
import { SCHEMA_VERSION } from "../meta/keys.ts";
import { checkJournal } from "./check.ts";
import { BackupUnusable } from "./errors.ts";
import { takeInventory } from "./inventory.ts";
import { BLOCK, parseTarHeader, tarEnd, tarPadding, type TarFile } from "./tar.ts";

export interface Archive {
  readonly label: BackupLabel;
  /** To be read only. */
  readonly objects: ObjectStore;
}

interface Place extends TarFile {
  readonly at: number;
}

/** `name` is for messages. Throws `BackupUnusable` for what is no backup, or not all of one. */
export async function openArchive(file: Blob, name: string): Promise<Archive> {
  const torn = () =>
    new BackupUnusable(`${name} is not whole: take the backup anew, or copy the file again`);
  const label = await labelOf(file, name);
  const places = new Map<string, Place>();
  let at = 0;
  let bytes = 0;
  for (;;) {
    const header = await bytesOf(file, at, BLOCK);
    if (header.every((byte) => byte === 0)) break;
    const found = parseTarHeader(header);
    if (found === undefined) throw torn();
    if (at > 0) {
      places.set(found.name, { ...found, at: at + BLOCK });
      bytes += found.size;
    }
    at += BLOCK + found.size + tarPadding(found.size).byteLength;
    if (at > file.size) throw torn();
  }
  const isWhole = places.size === label.files && bytes === label.bytes;
  if (!isWhole || file.size < at + tarEnd().byteLength) throw torn();
  return { label, objects: new ArchivedObjects(file, places, label.at) };
}

/** Reads all of it. Throws `BackupUnusable` for one that is damaged. */
export async function checkArchive(
  { label, objects }: Archive,
  name: string,
  options: { readonly read?: (bytes: number) => void; readonly signal?: AbortSignal } = {},
): Promise<void> {
  for await (const { object, problem } of checkJournal(objects, options))
    throw new BackupUnusable(`${name} cannot be used: ${object} in it is ${problem}`);
  const { segments, snapshots } = await takeInventory(objects);
  if (segments.length + snapshots.length === 0 && label.revision > 0)
    throw new BackupUnusable(`${name} cannot be used: there is no record in it`);
}

async function labelOf(file: Blob, name: string): Promise<BackupLabel> {
  const none = () => new BackupUnusable(`${name} is no backup that holdfast backup has made`);
  const first = parseTarHeader(await bytesOf(file, 0, Math.min(BLOCK, file.size)));
  if (first?.name !== LABEL) throw none();
  let label: Partial<BackupLabel>;
  try {
    const text = new TextDecoder().decode(await bytesOf(file, BLOCK, first.size));
    label = JSON.parse(text) as Partial<BackupLabel>;
  } catch {
    throw none();
  }
  const { format, schema, installation, revision, at, files, bytes } = label;
  const isOurs =
    label.holdfast === "backup" && typeof format === "number" && typeof schema === "number";
  if (!isOurs) throw none();
  if (format > BACKUP_FORMAT || schema > SCHEMA_VERSION)
    throw new BackupUnusable(
      `${name} was made by a newer Holdfast (format ${format}, schema ${schema}; this one knows up to ${BACKUP_FORMAT} and ${SCHEMA_VERSION}): restore it with that`,
    );
  const isFull =
    typeof installation === "string" &&
    [revision, at, files, bytes].every((number) => typeof number === "number");
  if (!isFull) throw none();
  return label as BackupLabel;
}

class ArchivedObjects implements ObjectStore {
  readonly #file: Blob;
  readonly #places: ReadonlyMap<string, Place>;
  readonly #modified: number;

  constructor(file: Blob, places: ReadonlyMap<string, Place>, modified: number) {
    this.#file = file;
    this.#places = places;
    this.#modified = modified;
  }

  put(): Promise<boolean> {
    throw new Error("a backup is not written to");
  }

  delete(): Promise<void> {
    throw new Error("a backup is not written to");
  }

  async get(name: string): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const place = this.#places.get(name);
    return place && bytesOf(this.#file, place.at, place.size);
  }

  async *list(prefix: string): AsyncGenerator<ObjectInfo, void, void> {
    const modified = this.#modified;
    for (const { name, size } of this.#places.values())
      if (name.startsWith(prefix)) yield { name, size, modified };
  }
}

async function bytesOf(file: Blob, at: number, size: number): Promise<Uint8Array<ArrayBuffer>> {
  return new Uint8Array(await file.slice(at, at + size).arrayBuffer());
}
