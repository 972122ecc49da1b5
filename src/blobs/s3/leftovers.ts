/** Removing what uploads leave: only ever what nobody else can still name as theirs. */
import type { S3Client } from "./client.ts";
import type { OwnerlessBytes } from "../port.ts";
import { DATA, dataKey, LARGE, RESTS, restKey, stemIn, stemOf } from "./names.ts";
import type { Turn, UploadNotes, UploadState } from "./upload-notes.ts";

/** Ids of what no note names: an open multipart upload or a rest; and a complete object without a marker. */
const LOST = /^lost-([a-z2-7]{26})$/;
const UNMARKED = /^unmarked-([a-z2-7]{26})$/;

/** Removes the bytes of an upload. */
export async function removeState(client: S3Client, { bytes }: UploadState): Promise<void> {
  if ("whole" in bytes) return client.delete(dataKey(bytes.whole));
  const { parts, rests, spent } = bytes;
  await Promise.all([
    parts && client.abortMultipart(dataKey(parts.stem), parts.uploadId),
    ...rests.map(({ stem }) => client.delete(restKey(stem))),
    spent === undefined ? undefined : client.delete(dataKey(spent)),
  ]);
}

/** Removes what a holder who died in its turn may have written. */
export async function removeTurn(client: S3Client, turn: Turn): Promise<void> {
  const { stem, multipart, garbage } = turn;
  if (multipart !== undefined) await client.abortMultipart(dataKey(stem), multipart);
  await Promise.all([
    client.delete(dataKey(stem)),
    client.delete(restKey(stem)),
    garbage && removeState(client, garbage),
  ]);
}

/** How to remove what an id of `listUploads` or `listOwnerless` names; `undefined` for all other ids. */
export function lostRemoval(id: string): ((client: S3Client) => Promise<void>) | undefined {
  const lost = LOST.exec(id)?.[1];
  if (lost !== undefined) return (client) => removeLost(client, lost);
  const unmarked = UNMARKED.exec(id)?.[1];
  return unmarked === undefined ? undefined : (client) => client.delete(dataKey(unmarked));
}

/** The object of the stem stays: a blob's multipart upload may have been begun twice, for a lost answer. */
async function removeLost(client: S3Client, stem: string): Promise<void> {
  const key = dataKey(stem);
  const folder = key.slice(0, key.lastIndexOf("/") + 1);
  if (client.listsMultiparts) {
    for await (const open of client.openMultiparts(folder)) {
      if (open.key === key) await client.abortMultipart(key, open.uploadId);
    }
  }
  await client.delete(restKey(stem));
}

/** Uploads as noted, then multipart uploads and rests that no note names. */
export async function* listUploads(
  client: S3Client,
  notes: UploadNotes,
): AsyncIterable<{ readonly id: string; readonly modified: number }> {
  // What is found before the notes are read and is in none of them has no holder any more.
  const lost = await findBytes(client);
  for await (const { id, modified, state, turn } of notes.list()) {
    for (const stem of namedBy(state, turn)) lost.delete(stem);
    yield { id, modified };
  }
  for (const [stem, { modified }] of lost) yield { id: `lost-${stem}`, modified };
}

/**
 * What no note, no marker and none of `known` names. Whoever completes an object marks it before its note ends, so
 * that the order of looking is objects, notes, markers: one that is in neither then has nobody who could mark it, and
 * without a marker no locator, so that there is no `trash!` to be said first. Memory: some 70 bytes a large blob.
 */
export async function* listOwnerless(
  client: S3Client,
  notes: UploadNotes,
  known: AsyncIterable<string>,
): AsyncIterable<OwnerlessBytes> {
  const lost = await findBytes(client);
  const unmarked = new Set<string>();
  for await (const { key } of client.listAll(DATA)) {
    const stem = stemOf(key);
    if (stem !== undefined) unmarked.add(apart(stem));
  }
  for await (const { state, turn } of notes.list()) {
    for (const stem of namedBy(state, turn)) {
      lost.delete(stem);
      unmarked.delete(stem);
    }
  }
  for await (const { key } of client.listAll(LARGE)) unmarked.delete(stemIn(key) ?? "");
  for await (const locator of known) unmarked.delete(stemIn(locator) ?? "");
  for (const [stem, { rest, uploads, modified }] of lost) {
    const where = rest === undefined ? `multipart upload of ${dataKey(stem)}` : restKey(stem);
    let size = rest ?? 0;
    for (const upload of uploads) size += await client.multipartSize(dataKey(stem), upload);
    yield { id: `lost-${stem}`, where, size, modified };
  }
  for (const stem of unmarked) {
    const where = dataKey(stem);
    const found = await client.head(where);
    if (found === undefined) continue;
    const modified = Date.parse(found.headers.get("last-modified") ?? "");
    yield { id: `unmarked-${stem}`, where, size: found.size, modified };
  }
}

/** A copy that does not keep the answer alive which it is a piece of. */
function apart(text: string): string {
  return Buffer.from(text, "latin1").toString("latin1");
}

/** Open multipart uploads and the rest under one stem. */
interface Found {
  readonly uploads: readonly string[];
  /** Bytes. */
  readonly rest?: number;
  /** The latest beginning, in milliseconds since the epoch. */
  readonly modified: number;
}

async function findBytes(client: S3Client): Promise<Map<string, Found>> {
  const found = new Map<string, Found>();
  if (client.listsMultiparts) {
    for await (const { key, uploadId, initiated } of client.openMultiparts(DATA)) {
      const stem = stemOf(key);
      if (stem === undefined) continue;
      const { uploads = [], modified = 0 } = found.get(stem) ?? {};
      found.set(stem, {
        uploads: [...uploads, uploadId],
        modified: Math.max(modified, initiated),
      });
    }
  }
  for await (const { key, size, modified } of client.listAll(RESTS)) {
    const stem = stemOf(key);
    if (stem === undefined) continue;
    const before = found.get(stem) ?? { uploads: [], modified: 0 };
    found.set(stem, { ...before, rest: size, modified: Math.max(before.modified, modified) });
  }
  return found;
}

function namedBy(state: UploadState | undefined, turn: Turn | undefined): string[] {
  const stems = turn ? [turn.stem] : [];
  for (const { bytes } of [state, turn?.garbage].filter((each) => each !== undefined)) {
    if ("whole" in bytes) {
      stems.push(bytes.whole);
      continue;
    }
    stems.push(...bytes.rests.map(({ stem }) => stem));
    if (bytes.parts) stems.push(bytes.parts.stem);
    if (bytes.spent !== undefined) stems.push(bytes.spent);
  }
  return stems;
}
