/** What the tests of blob stores share. */
import type { BlobStore, BlobUpload, StoredBlob, UploadProgress } from "./port.ts";

/** Bytes that no other test has. At most 65,536 of each block come from one call of the system. */
export function randomBytes(size: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(size);
  for (let at = 0; at < size; at += 65_536) crypto.getRandomValues(bytes.subarray(at, at + 65_536));
  return bytes;
}

export { digestOf } from "./content.ts";

export function newId(): string {
  return crypto.randomUUID();
}

/** Writes copies of the pieces, since an upload owns what it is given. */
export async function writeAll(upload: BlobUpload, bytes: Uint8Array, step: number): Promise<void> {
  for (let at = 0; at < bytes.byteLength; at += step) {
    await upload.write(new Uint8Array(bytes.slice(at, at + step)));
  }
}

/** One holder's turn: takes the upload, writes and suspends. */
export async function uploaded(
  store: BlobStore,
  id: string,
  bytes: Uint8Array,
): Promise<UploadProgress> {
  const upload = await store.upload(id, "sha256");
  await writeAll(upload, bytes, 65_536);
  return await upload.suspend();
}

/** The bytes as `open` serves them. */
export async function bodyOf(store: BlobStore, blob: StoredBlob): Promise<Uint8Array> {
  const body = await store.open(blob.locator, blob.size);
  if (body === undefined) throw new Error(`${blob.locator} is gone`);
  return await new Response(body).bytes();
}

export async function uploadIds(store: BlobStore): Promise<string[]> {
  return (await collected(store.uploads())).map((upload) => upload.id);
}

export async function collected<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

/** The error a promise ends with, or `undefined`. */
export async function failureOf(work: Promise<unknown>): Promise<unknown> {
  try {
    await work;
    return undefined;
  } catch (error) {
    return error;
  }
}
