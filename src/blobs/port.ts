/**
 * The port for bytes (DESIGN §5). A store keeps two kinds of things: *blobs*, immutable, complete and
 * addressed by a locator that only the store can make; and *uploads*, growing, invisible to readers,
 * addressed by the id of their upload session. What a blob means and who may see it is metadata's business.
 *
 * Errors: `BlobStoreFull`, `BlobStoreUnavailable`, `UploadBusy`, `DigestMismatch`. Absence is `undefined`.
 */
import type { Algorithm, Digest } from "../oci/digest.ts";

/**
 * Where a blob's bytes are, opaque outside the store, unique to the upload that wrote them: a later upload
 * of the same digest gets another locator, so a late delete can never hit newer bytes.
 */
export type Locator = string & { readonly __brand: "Locator" };

/** Bytes `start` to `end`, both inclusive, both within the blob. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

/** A body that `new Response()` sends the cheapest way: a `Blob` where the kernel can copy it (sendfile). */
export type BlobBody = Blob | ReadableStream<Uint8Array<ArrayBuffer>>;

export interface StoredBlob {
  readonly locator: Locator;
  /** Bytes. */
  readonly size: number;
}

export interface ListedBlob extends StoredBlob {
  /** Of the bytes when they were written. */
  readonly digest: Digest;
  /** Milliseconds since the epoch of the last write. */
  readonly modified: number;
}

/** Stored bytes without an owner: what a crash left behind, or an upload whose records are gone. */
export interface OwnerlessBytes {
  /** For `discard`. */
  readonly id: string;
  /** For people: where they are. */
  readonly where: string;
  /** Bytes. */
  readonly size: number;
  /** Milliseconds since the epoch of the last write, or of the beginning where the store tells only that. */
  readonly modified: number;
}

/** What an upload holds so far: all of it durable. */
export interface UploadProgress {
  /** Bytes. */
  readonly size: number;
  /** Digest of exactly these bytes. */
  readonly digest: Digest;
  /** Names exactly these bytes to the store, which will not take other bytes of the same size for them. */
  readonly proof: string;
}

/** An upload held open by this process alone. It must end with `suspend`, `commit` or `abort`. */
export interface BlobUpload {
  /** Bytes accepted so far, those of earlier holders included. */
  readonly size: number;

  /**
   * Appends a chunk and takes ownership of its buffer, which the caller must not touch again. Resolves when
   * more may be written (back-pressure: at most a few MiB wait). A failure to write shows in this or a later call.
   */
  write(chunk: Uint8Array<ArrayBuffer>): Promise<void>;

  /**
   * Makes all bytes durable and gives the upload free for the next holder, after `note` has been waited for: what
   * it writes down is true of the bytes, since nobody else can have changed them yet.
   */
  suspend(note?: (progress: UploadProgress) => Promise<void>): Promise<UploadProgress>;

  /**
   * Checks the digest of all bytes, makes them durable under a new locator and ends the upload. The blob is
   * complete and readable when this resolves, though nothing refers to it yet. Throws `DigestMismatch` and
   * keeps nothing when the digest differs. `proven` is a `suspend` result of an earlier holder: when its proof
   * still fits the bytes and its algorithm is the digest's, they need not be read again.
   */
  commit(digest: Digest, proven?: UploadProgress): Promise<StoredBlob>;

  /** Ends the upload and removes its bytes. */
  abort(): Promise<void>;
}

export interface BlobStore {
  /** Where uploads can be continued on the node only that began them: the name of this one. */
  readonly home?: string;

  /** Size of a blob, or `undefined` when its bytes are gone. */
  stat(locator: Locator): Promise<number | undefined>;

  /**
   * Whether the blob is there, of this size, as durably as if it had been stored just now: where copies can be lost one
   * by one, it may be there and not be that. Left out by stores to which both are the same.
   */
  isDurable?(locator: Locator, size: number): Promise<boolean>;

  /**
   * A body for the whole blob or a part of it; `undefined` when the bytes are gone or have another size than
   * `size`, so that a damaged blob is never half served.
   */
  open(locator: Locator, size: number, range?: ByteRange): Promise<BlobBody | undefined>;

  /** All bytes of a small blob (at most `limit` bytes of memory), or `undefined` as for `open`. */
  read(locator: Locator, size: number): Promise<Uint8Array<ArrayBuffer> | undefined>;

  /** Stores a small blob whole, durably. The caller has checked that `bytes` have this digest. */
  put(digest: Digest, bytes: Uint8Array<ArrayBuffer>): Promise<StoredBlob>;

  /**
   * Takes hold of an upload, new or resumed, from any process of this installation. `algorithm` is the hash
   * to run along while bytes stream in; another one at `commit` costs a second read.
   * Throws `UploadBusy` while another request holds it; a holder that died holds nothing.
   */
  upload(id: string, algorithm: Algorithm): Promise<BlobUpload>;

  /** Bytes held by an upload that nobody needs to hold open, or `undefined` when nothing was ever written. */
  uploadSize(id: string): Promise<number | undefined>;

  /** Removes an upload's bytes, or ownerless ones, if any. Throws `UploadBusy` while a request holds it. */
  discard(id: string): Promise<void>;

  /** Uploads with bytes, whatever their state, for the purge: `modified` as in `ListedBlob`. */
  uploads(): AsyncIterable<{ readonly id: string; readonly modified: number }>;

  /**
   * Bytes that belong to no blob that `list` shows, to no upload, and to none of `known`, the locators that metadata
   * names; none of them can come to be named any more. Costs a listing of everything. Where a store can have any.
   */
  ownerless?(known: AsyncIterable<Locator>): AsyncIterable<OwnerlessBytes>;

  /** Every complete blob in the order of the locators, referenced or not, for sweeps and verification. */
  list(after?: Locator): AsyncIterable<ListedBlob>;

  /** Removes a blob's bytes durably; absence is success. */
  delete(locator: Locator): Promise<void>;

  /** A URL that serves the blob for `seconds` without further rights, where the store can make one. */
  presign?(locator: Locator, seconds: number): Promise<string>;

  /** Bytes free for new blobs and in all, where the store can tell. */
  space(): Promise<{ readonly free: number; readonly total: number } | undefined>;

  close(): Promise<void>;
}

/** No room for the bytes (ENOSPC, EDQUOT, quota of the bucket). Nothing is kept of the write. */
export class BlobStoreFull extends Error {
  override readonly name = "BlobStoreFull";
}

/** The store cannot be reached or refuses work (EIO, EROFS, 5xx); the caller may repeat the request. */
export class BlobStoreUnavailable extends Error {
  override readonly name = "BlobStoreUnavailable";
}

/** Another request holds the upload. */
export class UploadBusy extends Error {
  override readonly name = "UploadBusy";
}

/** The bytes do not have the digest they were said to have. */
export class DigestMismatch extends Error {
  override readonly name = "DigestMismatch";
  readonly actual: Digest;
  constructor(expected: Digest, actual: Digest) {
    super(`the content has digest ${actual}, not ${expected}`);
    this.actual = actual;
  }
}
