/** Removing what uploads leave: only ever what nobody else can still name as theirs. */
import type { S3Client } from "./client.ts";
import { DATA, dataKey, RESTS, restKey, stemOf } from "./names.ts";
import type { Turn, UploadNotes, UploadState } from "./upload-notes.ts";

/** Ids under which the purge finds what no note names. */
const LOST = /^lost-([a-z2-7]{26})$/;

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

/** The stem that an id from `lostUploads` names. */
export function lostStem(id: string): string | undefined {
  return LOST.exec(id)?.[1];
}

/** Removes what is left under a stem that no note names. */
export async function removeLost(client: S3Client, stem: string): Promise<void> {
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
  for (const [stem, modified] of lost) yield { id: `lost-${stem}`, modified };
}

/** Stems of open multipart uploads and of rests, with the time of their beginning. */
async function findBytes(client: S3Client): Promise<Map<string, number>> {
  const found = new Map<string, number>();
  if (client.listsMultiparts) {
    for await (const { key, initiated } of client.openMultiparts(DATA)) {
      const stem = stemOf(key);
      if (stem !== undefined) found.set(stem, initiated);
    }
  }
  for await (const { key, modified } of client.listAll(RESTS)) {
    const stem = stemOf(key);
    if (stem !== undefined) found.set(stem, modified);
  }
  return found;
}

function namedBy(state: UploadState | undefined, turn: Turn | undefined): string[] {
  const stems = turn ? [turn.stem] : [];
  for (const { bytes } of [state, turn?.garbage].filter((each) => each !== undefined)) {
    if ("whole" in bytes) stems.push(bytes.whole);
    else
      stems.push(
        ...bytes.rests.map(({ stem }) => stem),
        ...(bytes.parts ? [bytes.parts.stem] : []),
      );
  }
  return stems;
}
