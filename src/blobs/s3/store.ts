/** The BlobStore on a bucket. */
import type { Algorithm, Digest } from "../../oci/digest.ts";
import { isDigestOf } from "../content.ts";
import type {
  BlobBody,
  BlobStore,
  BlobUpload,
  ByteRange,
  ListedBlob,
  Locator,
  OwnerlessBytes,
  StoredBlob,
} from "../port.ts";
import { S3Client } from "./client.ts";
import { listOwnerless, listUploads, lostRemoval, removeState, removeTurn } from "./leftovers.ts";
import { listBlobs } from "./listing.ts";
import { digestIn, isAdopted, newStem, placeOf, requireUploadId, smallLocator } from "./names.ts";
import type { S3Options } from "./transport.ts";
import type { HeldNote, Turn, UploadNotes } from "./upload-notes.ts";
import { S3Upload, sha256In } from "./upload.ts";

export interface S3StoreOptions extends S3Options {
  /** Where unfinished uploads are noted for all nodes; closed with the store. */
  readonly notes: UploadNotes;
  /** Whether the store can list open multipart uploads, as the probe found. Default true. */
  readonly listsMultiparts?: boolean;
}

/** Opens the store; no request is made: what the bucket can do, and whether it is there, is the probe's to find out. */
export async function openS3Store(options: S3StoreOptions): Promise<BlobStore> {
  return new S3Store(new S3Client(options, options), options.notes);
}

class S3Store implements BlobStore {
  readonly #client: S3Client;
  readonly #notes: UploadNotes;

  constructor(client: S3Client, notes: UploadNotes) {
    this.#client = client;
    this.#notes = notes;
  }

  async stat(locator: Locator): Promise<number | undefined> {
    const place = placeOf(locator);
    if (place === undefined) return undefined;
    const size = (await this.#client.head(place.key))?.size;
    return place.size === undefined || place.size === size ? size : undefined;
  }

  async open(locator: Locator, size: number, range?: ByteRange): Promise<BlobBody | undefined> {
    const place = placeOf(locator);
    if (place === undefined || (place.size ?? size) !== size) return undefined;
    return this.#client.open(place.key, size, range);
  }

  async read(locator: Locator, size: number): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const place = placeOf(locator);
    if (place === undefined || (place.size ?? size) !== size) return undefined;
    const bytes = await this.#client.get(place.key, size);
    return bytes && isContent(locator, bytes) ? bytes : undefined;
  }

  async put(digest: Digest, bytes: Uint8Array<ArrayBuffer>): Promise<StoredBlob> {
    const locator = smallLocator(digest);
    await this.#client.put(locator, bytes, sha256In(digest));
    return { locator, size: bytes.byteLength };
  }

  async upload(id: string, algorithm: Algorithm): Promise<BlobUpload> {
    const { note, turn } = await this.#hold(id);
    return new S3Upload(this.#client, note, turn, algorithm);
  }

  async uploadSize(id: string): Promise<number | undefined> {
    requireUploadId(id);
    return (await this.#notes.read(id))?.state?.size;
  }

  async discard(id: string): Promise<void> {
    requireUploadId(id);
    const removal = lostRemoval(id);
    if (removal !== undefined) return removal(this.#client);
    if ((await this.#notes.read(id)) === undefined) return;
    const { note, turn } = await this.#hold(id);
    const garbage = note.state;
    if (garbage) {
      const removing = { ...turn, garbage };
      await note.save(removing);
      try {
        await removeState(this.#client, garbage);
      } catch (error) {
        await note.leave(removing);
        throw error;
      }
    }
    await note.end();
  }

  uploads(): AsyncIterable<{ readonly id: string; readonly modified: number }> {
    return listUploads(this.#client, this.#notes);
  }

  ownerless(known: AsyncIterable<Locator>): AsyncIterable<OwnerlessBytes> {
    return listOwnerless(this.#client, this.#notes, known);
  }

  list(after?: Locator): AsyncIterable<ListedBlob> {
    return listBlobs(this.#client, after ?? "");
  }

  async delete(locator: Locator): Promise<void> {
    const place = placeOf(locator);
    if (place === undefined || isAdopted(locator)) return;
    await this.#client.delete(place.key);
    // The marker goes last: as long as there are bytes, a listing shows them.
    if (place.key !== locator) await this.#client.delete(locator);
  }

  async presign(locator: Locator, seconds: number): Promise<string> {
    const key = placeOf(locator)?.key ?? locator;
    return this.#client.transport.presign(key, seconds);
  }

  async space(): Promise<undefined> {
    return undefined;
  }

  async close(): Promise<void> {
    await this.#notes.close();
  }

  /** Takes the note, and clears away what a holder that died left unsaid. */
  async #hold(id: string): Promise<{ readonly note: HeldNote; readonly turn: Turn }> {
    requireUploadId(id);
    const turn = { stem: newStem() };
    const note = await this.#notes.hold(id, turn);
    if (note.broken) {
      try {
        await removeTurn(this.#client, note.broken);
      } catch (error) {
        await note.leave();
        throw error;
      }
    }
    return { note, turn };
  }
}

/** Whether the bytes are what the locator says; one that is another registry's says nothing. */
function isContent(locator: Locator, bytes: Uint8Array): boolean {
  const digest = digestIn(locator);
  return digest === undefined || isDigestOf(digest, bytes);
}
