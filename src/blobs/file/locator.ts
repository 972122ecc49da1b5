/**
 * Names below the data directory. A blob of ours is a file `blobs/<algorithm>/<first two hex>/<hex>.<8 random>` or
 * a record in a pack, `packs/<16 random>:<block, 4 hex>:<digest>`; one of an adopted distribution directory is
 * `docker/registry/v2/blobs/<algorithm>/<first two hex>/<hex>/data`. Nothing else is a locator, so no text from
 * outside can name another file.
 */
import { randomBytes } from "node:crypto";
import { algorithmOf, encodedOf, parseDigest, type Digest } from "../../oci/digest.ts";
import type { Locator } from "../port.ts";

export const BLOBS = "blobs";
export const PACKS = "packs";
export const UPLOADS = "uploads";

const HEX = "(?:sha256/(?=[0-9a-f]{2}/[0-9a-f]{64}\\b)|sha512/(?=[0-9a-f]{2}/[0-9a-f]{128}\\b))";
const OURS = new RegExp(`^blobs/${HEX}([0-9a-f]{2})/\\1[0-9a-f]+\\.[a-z2-7]{8}$`);
const ADOPTED = new RegExp(`^docker/registry/v2/blobs/${HEX}([0-9a-f]{2})/\\1[0-9a-f]+/data$`);
const PACK_ID = /^[a-z2-7]{16}$/;
const PACKED = /^packs\/([a-z2-7]{16}):([0-9a-f]{4}):(.*)$/;
const UPLOAD_ID = /^[A-Za-z0-9_-]{1,64}$/;
const BASE32 = "abcdefghijklmnopqrstuvwxyz234567";

/** A fresh locator: 40 random bits tell the uploads of one digest apart; a place key takes the first 15 of them. */
export function newLocator(digest: Digest, key = ""): Locator {
  const hex = encodedOf(digest);
  const random = key + randomName().slice(key.length);
  return `${BLOBS}/${algorithmOf(digest)}/${hex.slice(0, 2)}/${hex}.${random}` as Locator;
}

/** Where in a pack a record is. */
export interface PackPlace {
  /** The pack's id. */
  readonly pack: string;
  /** The record begins at this block of the pack. */
  readonly block: number;
  readonly digest: Digest;
}

export function packLocator({ pack, block, digest }: PackPlace): Locator {
  return `${PACKS}/${pack}:${block.toString(16).padStart(4, "0")}:${digest}` as Locator;
}

/** The place in a pack that a locator names; `undefined` for any other text. */
export function packPlace(text: string): PackPlace | undefined {
  const [, pack, block, rest] = PACKED.exec(text) ?? [];
  if (pack === undefined || block === undefined || rest === undefined) return undefined;
  const digest = parseDigest(rest);
  return digest && { pack, block: Number.parseInt(block, 16), digest };
}

/** 80 random bits: no two packs share an id, and nobody who sends content can guess one. */
export function newPackId(): string {
  return randomName() + randomName();
}

export function isPackId(text: string): boolean {
  return PACK_ID.test(text);
}

/** Eight characters of base32. */
export function randomName(): string {
  let name = "";
  for (const byte of randomBytes(8)) name += BASE32.charAt(byte & 31);
  return name;
}

/** The digest that any locator spells; `undefined` for what is none. */
export function digestOfLocator(text: string): Digest | undefined {
  if (isOwnLocator(text)) return digestIn(text);
  if (!isAdoptedLocator(text)) return packPlace(text)?.digest;
  const [algorithm, , hex] = text.split("/").slice(4);
  return parseDigest(`${algorithm}:${hex}`);
}

/** The digest that a locator of ours spells. */
export function digestIn(locator: string): Digest | undefined {
  const [, algorithm, , name = ""] = locator.split("/");
  return parseDigest(`${algorithm}:${name.slice(0, name.indexOf("."))}`);
}

export function isOwnLocator(text: string): text is Locator {
  return OURS.test(text);
}

export function isAdoptedLocator(text: string): text is Locator {
  return ADOPTED.test(text);
}

export function isUploadId(text: string): boolean {
  return UPLOAD_ID.test(text);
}
