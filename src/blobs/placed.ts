/**
 * The port of a store whose blobs have copies in other stores of its kind, all under one locator. The random part
 * of such a locator begins with a *place key*, by which a cluster finds the stores that should hold the copies: it
 * can be chosen before the digest is known, and two blobs of one key need not have anything else in common.
 */
import type { Algorithm, Digest } from "../oci/digest.ts";
import type { BlobStore, BlobUpload, Locator, StoredBlob, UploadProgress } from "./port.ts";

const BASE32 = "abcdefghijklmnopqrstuvwxyz234567";
const KEYED = /\.([a-z2-7]{3})[a-z2-7]{5}$/;
/** How many place keys there are. */
export const PLACE_KEYS = 32 ** 3;

/** The place key of this number, 0 to `PLACE_KEYS` (exclusive). */
export function placeKey(number: number): string {
  return [number >> 10, number >> 5, number].map((digit) => BASE32.charAt(digit & 31)).join("");
}

/** What places a locator: its place key, or all of it where it has none. */
export function placeKeyOf(locator: Locator): string {
  return KEYED.exec(locator)?.[1] ?? locator;
}

export interface PlacedUpload extends BlobUpload {
  /**
   * As `commit`, with the digest that the locator spells, but under this locator; what is there already is replaced
   * by the bytes just verified. Throws for a locator that `newLocator` cannot have made.
   */
  commitAs(locator: Locator, proven?: UploadProgress): Promise<StoredBlob>;
}

export interface PlacedStore extends BlobStore {
  /** A fresh locator, for `place` and `commitAs` of any store of this kind; of this place key where one is given. */
  newLocator(digest: Digest, key?: string): Locator;

  /** The digest that a locator spells; `undefined` for what is no locator of this kind of store. */
  digestOf(locator: Locator): Digest | undefined;

  /**
   * Stores a small blob whole, durably, under a locator of `newLocator`. The caller has checked that `bytes` have its
   * digest. A blob of this size that is there already stays, which is success, too.
   */
  place(locator: Locator, bytes: Uint8Array<ArrayBuffer>): Promise<StoredBlob>;

  /**
   * As `stat`, having made the blob durable: `stat` also shows one whose writer has not come to this yet, and may
   * still take it back.
   */
  sync(locator: Locator): Promise<number | undefined>;

  upload(id: string, algorithm: Algorithm): Promise<PlacedUpload>;
}
