/**
 * Names of objects below the prefix. A small blob is `blobs/<algorithm>/<2 hex>/<hex>.<8 random>`, whole; a large
 * one has its bytes at `data/<2>/<unique>` and a marker of no bytes, `large/<algorithm>/<2 hex>/<hex>.<size>.<unique>`,
 * whose name is the locator. A blob that distribution wrote keeps its name there. Nothing else is a locator, so no text
 * from outside can name another object.
 */
import { randomBytes } from "node:crypto";
import { algorithmOf, encodedOf, parseDigest, type Digest } from "../../oci/digest.ts";
import type { Locator } from "../port.ts";

export const BLOBS = "blobs/";
export const LARGE = "large/";
export const DATA = "data/";
export const RESTS = "uploads/";

const HEX = "(?:sha256/(?=[0-9a-f]{2}/[0-9a-f]{64}\\b)|sha512/(?=[0-9a-f]{2}/[0-9a-f]{128}\\b))";
const SMALL_LOCATOR = new RegExp(`^blobs/${HEX}([0-9a-f]{2})/\\1[0-9a-f]+\\.[a-z2-7]{8}$`);
const LARGE_LOCATOR = new RegExp(
  `^large/${HEX}([0-9a-f]{2})/\\1[0-9a-f]+\\.(0|[1-9][0-9]{0,15})\\.([a-z2-7]{26})$`,
);
const ADOPTED_LOCATOR = new RegExp(
  `^docker/registry/v2/blobs/${HEX}([0-9a-f]{2})/\\1[0-9a-f]+/data$`,
);
const DATA_KEY = /^data\/[a-z2-7]{2}\/([a-z2-7]{26})$/;
const REST_KEY = /^uploads\/([a-z2-7]{26})$/;
const UPLOAD_ID = /^[A-Za-z0-9_-]{1,64}$/;
const BASE32 = "abcdefghijklmnopqrstuvwxyz234567";

/** What one holder of an upload writes is named after it: 130 random bits. */
export function newStem(): string {
  return randomName(26);
}

export function dataKey(stem: string): string {
  return `${DATA}${stem.slice(0, 2)}/${stem}`;
}

export function restKey(stem: string): string {
  return `${RESTS}${stem}`;
}

/** The stem of a key below `data/` or `uploads/`. */
export function stemOf(key: string): string | undefined {
  return (DATA_KEY.exec(key) ?? REST_KEY.exec(key))?.[1];
}

export function smallLocator(digest: Digest): Locator {
  return `${BLOBS}${place(digest)}.${randomName(8)}` as Locator;
}

export function largeLocator(digest: Digest, size: number, stem: string): Locator {
  return `${LARGE}${place(digest)}.${size}.${stem}` as Locator;
}

/** Where a blob's bytes are. */
export interface Place {
  readonly key: string;
  /** Bytes, where the name says so. */
  readonly size: number | undefined;
}

export function placeOf(locator: string): Place | undefined {
  if (SMALL_LOCATOR.test(locator) || isAdopted(locator)) return { key: locator, size: undefined };
  const found = LARGE_LOCATOR.exec(locator);
  const [, , size, stem] = found ?? [];
  return stem === undefined ? undefined : { key: dataKey(stem), size: Number(size) };
}

const DIGEST = /^(?:blobs|large)\/(sha\d+)\/[0-9a-f]{2}\/([0-9a-f]+)\./;

/** The stem of the bytes that a marker names. */
export function stemIn(locator: string): string | undefined {
  return LARGE_LOCATOR.exec(locator)?.[3];
}

/** The digest that a locator spells. */
export function digestIn(locator: string): Digest | undefined {
  const [, algorithm, hex] = DIGEST.exec(locator) ?? [];
  return parseDigest(`${algorithm}:${hex}`);
}

/** Written by distribution: read, never removed. */
export function isAdopted(locator: string): boolean {
  return ADOPTED_LOCATOR.test(locator);
}

export function requireUploadId(id: string): void {
  if (!UPLOAD_ID.test(id)) throw new Error(`not an upload id: ${JSON.stringify(id.slice(0, 80))}`);
}

function place(digest: Digest): string {
  const hex = encodedOf(digest);
  return `${algorithmOf(digest)}/${hex.slice(0, 2)}/${hex}`;
}

function randomName(length: number): string {
  let name = "";
  for (const byte of randomBytes(length)) name += BASE32.charAt(byte & 31);
  return name;
}
