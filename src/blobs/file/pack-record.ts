/**
 * A pack is a row of records, each on blocks (4 KiB) of its own, so that deleting one gives its blocks back at once:
 * a header, then the blob's bytes, then nothing up to the next block. Blocks without a header that checks out are no
 * record: zeros written ahead, a record deleted, or one torn by a crash.
 *
 *   0 magic   8 CRC-32 of 12–127   12 CRC-32 of the bytes   16 size   20 block   24 time   32 pack id
 *   48 algorithm (1 sha256, 2 sha512)   49–55 zeros   56 digest   120–127 zeros
 *
 * Numbers are little-endian. The header names its own place: a header among a client's bytes, or one copied from
 * elsewhere, does not check out.
 */
import { alignedUp } from "../../base/aligned.ts";
import { ALGORITHMS, algorithmOf, encodedOf, makeDigest, type Digest } from "../../oci/digest.ts";

export const HEADER = 128;

const MAGIC = Buffer.from("hfblob01", "latin1");
const ID_AT = 32;
const ALGORITHM_AT = 48;
const DIGEST_AT = 56;

export interface PackedBlob {
  readonly digest: Digest;
  /** Bytes. */
  readonly size: number;
  /** Milliseconds since the epoch of the write. */
  readonly time: number;
}

/** Bytes that a record of a blob of this size takes of its pack. */
export function recordBytes(size: number): number {
  return alignedUp(HEADER + size);
}

/** Writes the record of `bytes` at the beginning of `into`; returns the part written. */
export function encodeRecord(
  into: Buffer<ArrayBuffer>,
  pack: string,
  block: number,
  digest: Digest,
  bytes: Uint8Array,
): Uint8Array<ArrayBuffer> {
  into.fill(0, 0, HEADER);
  MAGIC.copy(into);
  into.writeUInt32LE(Bun.hash.crc32(bytes), 12);
  into.writeUInt32LE(bytes.byteLength, 16);
  into.writeUInt32LE(block, 20);
  into.writeDoubleLE(Date.now(), 24);
  into.write(pack, ID_AT, "latin1");
  into[ALGORITHM_AT] = ALGORITHMS.indexOf(algorithmOf(digest)) + 1;
  into.write(encodedOf(digest), DIGEST_AT, "hex");
  into.writeUInt32LE(headerCheck(into), 8);
  into.set(bytes, HEADER);
  return into.subarray(0, HEADER + bytes.byteLength);
}

/** What the header at the beginning of `from` says; `undefined` where there is none of this place. */
export function decodeHeader(from: Buffer, pack: string, block: number): PackedBlob | undefined {
  const isHeader =
    from.byteLength >= HEADER &&
    MAGIC.equals(from.subarray(0, MAGIC.byteLength)) &&
    from.readUInt32LE(8) === headerCheck(from) &&
    from.readUInt32LE(20) === block &&
    from.toString("latin1", ID_AT, ID_AT + pack.length) === pack;
  const algorithm = isHeader ? ALGORITHMS[(from[ALGORITHM_AT] ?? 0) - 1] : undefined;
  if (algorithm === undefined) return undefined;
  const end = DIGEST_AT + (algorithm === "sha256" ? 32 : 64);
  return {
    digest: makeDigest(algorithm, from.toString("hex", DIGEST_AT, end)),
    size: from.readUInt32LE(16),
    time: from.readDoubleLE(24),
  };
}

/** Whether the bytes after the header at the beginning of `record` are those it was written for. */
export function isWhole(record: Buffer, size: number): boolean {
  if (record.byteLength < HEADER + size) return false;
  return Bun.hash.crc32(record.subarray(HEADER, HEADER + size)) === record.readUInt32LE(12);
}

function headerCheck(from: Buffer): number {
  return Bun.hash.crc32(from.subarray(12, HEADER));
}
