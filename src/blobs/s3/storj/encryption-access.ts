/** The encryption part of a grant, as far as a registry needs it: that there is a key, and the names of shared prefixes. */
import { bytesOf, fields, Malformed, numberOf } from "./wire.ts";

export interface EncryptionKeys {
  /** Whether objects can be encrypted with it at all. */
  readonly any: boolean;
  /** The prefix that `encrypted` stands for in `bucket`, where the grant tells. */
  plainPrefix(bucket: string, encrypted: Uint8Array): string | undefined;
}

interface StoreEntry {
  readonly bucket: string;
  readonly plain: string;
  readonly encrypted: Uint8Array;
}

const KEY_BYTES = 32;
/** Object keys that are not encrypted ("Storj-managed encryption"). */
const CIPHER_NULL = 1n;

/** `EncryptionAccess` of storj/common `grant/internal/pb`. Throws `Malformed`. */
export function encryptionKeys(message: Uint8Array): EncryptionKeys {
  let defaultKey = false;
  let cipher = 0n;
  const entries: StoreEntry[] = [];
  for (const field of fields(message)) {
    if (field.number === 1) defaultKey = isKey(bytesOf(field));
    else if (field.number === 2) entries.push(storeEntry(bytesOf(field)));
    else if (field.number === 3) cipher = numberOf(field);
  }
  return {
    any: defaultKey || entries.length > 0,
    plainPrefix(bucket, encrypted) {
      if (encrypted.length === 0) return "";
      const entry = entries.find(
        (other) => other.bucket === bucket && Buffer.compare(other.encrypted, encrypted) === 0,
      );
      if (entry !== undefined) return entry.plain;
      return cipher === CIPHER_NULL ? text(encrypted) : undefined;
    },
  };
}

function storeEntry(message: Uint8Array): StoreEntry {
  let bucket = "";
  let plain = "";
  let encrypted: Uint8Array = new Uint8Array();
  let key = false;
  for (const field of fields(message)) {
    if (field.number === 1) bucket = text(bytesOf(field));
    else if (field.number === 2) plain = text(bytesOf(field));
    else if (field.number === 3) encrypted = bytesOf(field);
    else if (field.number === 4) key = isKey(bytesOf(field));
  }
  if (!key) throw new Malformed("an encryption key in it has not 32 bytes");
  return { bucket, plain, encrypted };
}

/** An empty key is none; any other length than a key's is damage. */
function isKey(bytes: Uint8Array): boolean {
  if (bytes.length !== 0 && bytes.length !== KEY_BYTES)
    throw new Malformed("an encryption key in it has not 32 bytes");
  return bytes.length === KEY_BYTES;
}

function text(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("utf8");
}
