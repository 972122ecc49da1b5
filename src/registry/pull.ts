/** Reading manifests and blobs: distribution-spec §Pull. */
import type { BlobBody, ByteRange } from "../blobs/port.ts";
import { keys } from "../meta/keys.ts";
import { StoreUnavailable } from "../meta/port.ts";
import {
  decode,
  type BlobRecord,
  type LinkRecord,
  type ManifestRecord,
  type TagRecord,
  type Versioned,
} from "./records.ts";
import type { Digest } from "../oci/digest.ts";
import { OciError } from "../oci/errors.ts";
import type { RepositoryName, Tag } from "../oci/name.ts";
import type { Reference } from "../oci/route.ts";
import { reachTruth, type Context } from "./context.ts";
import { holdsBytes } from "./bytes.ts";
import { isLive } from "./repository.ts";
import { verifiedBody, verifyWhole } from "./verify.ts";

/** Largest blob kept in memory, in bytes: beyond it the kernel's copy is as fast. */
const CACHED_BLOB_MAX = 64 * 1024;
/** Foreign blobs up to this size are checked before the first byte goes out, larger ones on their way. */
const VERIFY_FIRST_MAX = 16 * 1024 * 1024;

/** "promise" is what HEAD asks for: a client told that something exists never sends it again. */
export type Purpose = "bytes" | "promise";

export interface ManifestInfo {
  readonly digest: Digest;
  readonly mediaType: string;
  readonly size: number;
  /** The truth could not be reached: this is the last known state. */
  readonly stale: boolean;
}

export interface PulledManifest extends ManifestInfo {
  readonly bytes: Uint8Array<ArrayBuffer>;
}

export interface PulledBlob {
  readonly size: number;
  readonly stale: boolean;
  /** The body of the blob, or of a part of it. */
  body(range?: ByteRange): Promise<BlobBody | Uint8Array<ArrayBuffer>>;
  /** Where the store itself serves the blob for so many seconds, if it does. */
  url(seconds: number): Promise<string | undefined>;
}

/** Throws MANIFEST_UNKNOWN. */
export function pullManifest(
  ctx: Context,
  name: RepositoryName,
  reference: Reference,
  purpose: Purpose,
): Promise<PulledManifest> {
  return surely(ctx, () => lookUpManifest(ctx, name, reference, purpose));
}

/** Throws BLOB_UNKNOWN. */
export function pullBlob(
  ctx: Context,
  name: RepositoryName,
  digest: Digest,
  purpose: Purpose,
): Promise<PulledBlob> {
  return surely(ctx, () => lookUpBlob(ctx, name, digest, purpose));
}

/** What the last known state lacks may have come since: while a majority elects its leader this waits, and looks again. */
async function surely<T>({ meta }: Context, lookUp: () => Promise<T>): Promise<T> {
  try {
    return await lookUp();
  } catch (error) {
    if (!(error instanceof PerhapsAbsent)) throw error;
    await reachTruth(meta);
    return lookUp();
  }
}

class PerhapsAbsent extends StoreUnavailable {
  override readonly name = "PerhapsAbsent";
}

async function lookUpManifest(
  ctx: Context,
  name: RepositoryName,
  reference: Reference,
  purpose: Purpose,
): Promise<PulledManifest> {
  const { info, blob } =
    reference.kind === "tag"
      ? await manifestByTag(ctx, name, reference.tag)
      : await manifestByDigest(ctx, name, reference.digest);
  const bytes = await smallBytes(ctx, info.digest, blob, purpose);
  if (bytes === undefined) throw absent(info.stale, manifestUnknown(name, info.digest));
  return { ...info, bytes };
}

async function lookUpBlob(
  ctx: Context,
  name: RepositoryName,
  digest: Digest,
  purpose: Purpose,
): Promise<PulledBlob> {
  const [repository, link, blob] = [
    keys.repository(name),
    keys.link(digest, name),
    keys.blob(digest),
  ];
  const { entries, stale } = await ctx.meta.get([repository, link, blob]);
  const record = decode<BlobRecord>(entries[2]);
  if (
    !record ||
    record.value.damaged ||
    !isLive(decode<LinkRecord>(entries[1])?.value, entries[0])
  ) {
    throw absent(stale, blobUnknown(name, digest));
  }
  const { size } = record.value;
  if (size <= CACHED_BLOB_MAX) {
    const bytes = await smallBytes(ctx, digest, record, purpose);
    if (bytes === undefined) throw absent(stale, blobUnknown(name, digest));
    return {
      size,
      stale,
      body: async (range) => (range ? bytes.subarray(range.start, range.end + 1) : bytes),
      url: async () => undefined,
    };
  }
  // Whoever wants the bytes learns by opening them that they are gone.
  if (purpose === "promise" && (await ctx.blobs.stat(record.value.locator)) !== size) {
    damaged(ctx, digest, record.value, "missing or of the wrong size");
    throw absent(stale, blobUnknown(name, digest));
  }
  return {
    size,
    stale,
    body: (range) => surely(ctx, () => largeBody(ctx, name, digest, record, range)),
    url: async (seconds) => presigned(ctx, record.value, seconds),
  };
}

/** Nothing that is still to be checked leaves past us. */
async function presigned(
  { blobs }: Context,
  { locator, verified }: BlobRecord,
  seconds: number,
): Promise<string | undefined> {
  return verified ? blobs.presign?.(locator, seconds) : undefined;
}

async function manifestByTag(
  ctx: Context,
  name: RepositoryName,
  tag: Tag,
): Promise<{ info: ManifestInfo; blob: Versioned<BlobRecord> | undefined }> {
  let seen = -1;
  for (;;) {
    const { entries, stale } = await ctx.meta.get([keys.repository(name), keys.tag(name, tag)]);
    const record = decode<TagRecord>(entries[1]);
    // A tag that shows a dead manifest twice unchanged is dead itself; one that moved meanwhile is looked up anew.
    if (!record || record.version === seen || !isLive(record.value, entries[0])) {
      throw absent(stale, manifestUnknown(name, tag));
    }
    seen = record.version;
    const { digest, mediaType, size, generation } = record.value;
    const target = await ctx.meta.get([keys.manifest(name, digest), keys.blob(digest)]);
    const manifest = decode<ManifestRecord>(target.entries[0]);
    if (manifest?.value.generation === generation) {
      const blob = decode<BlobRecord>(target.entries[1]);
      return { info: { digest, mediaType, size, stale: stale || target.stale }, blob };
    }
    // An old view of the manifest says nothing about a tag that moved since.
    if (target.stale) throw absent(true, manifestUnknown(name, tag));
  }
}

async function manifestByDigest(
  ctx: Context,
  name: RepositoryName,
  digest: Digest,
): Promise<{ info: ManifestInfo; blob: Versioned<BlobRecord> | undefined }> {
  const { entries, stale } = await ctx.meta.get([
    keys.repository(name),
    keys.manifest(name, digest),
    keys.blob(digest),
  ]);
  const record = decode<ManifestRecord>(entries[1]);
  if (!record || !isLive(record.value, entries[0]))
    throw absent(stale, manifestUnknown(name, digest));
  const { mediaType, size } = record.value;
  return { info: { digest, mediaType, size, stale }, blob: decode<BlobRecord>(entries[2]) };
}

/**
 * A manifest's or small blob's bytes, right ones only; `undefined` when they are gone or damaged. Bytes kept in
 * memory are good to send, but no ground for a promise.
 */
export async function smallBytes(
  ctx: Context,
  digest: Digest,
  blob: Versioned<BlobRecord> | undefined,
  purpose: Purpose,
): Promise<Uint8Array<ArrayBuffer> | undefined> {
  const cached = ctx.cache.get(digest);
  if (cached !== undefined && (purpose === "bytes" || (await holdsBytes(ctx, blob)))) return cached;
  if (blob === undefined || blob.value.damaged) return undefined;
  if (!blob.value.verified && !(await verifyWhole(ctx, digest, blob))) {
    damaged(ctx, digest, blob.value, "not the content its digest names");
    return undefined;
  }
  const bytes = await ctx.blobs.read(blob.value.locator, blob.value.size);
  if (bytes === undefined) damaged(ctx, digest, blob.value, "missing or of the wrong size");
  else if (bytes.length <= CACHED_BLOB_MAX) ctx.cache.set(digest, bytes, bytes.length + 256);
  return bytes;
}

async function largeBody(
  ctx: Context,
  name: RepositoryName,
  digest: Digest,
  seen: Versioned<BlobRecord>,
  range: ByteRange | undefined,
): Promise<BlobBody> {
  const body = await openRecord(ctx, digest, seen, range);
  if (body !== undefined) return body;
  // Bytes go once the record names others: perhaps since it was read.
  const { entries, stale } = await ctx.meta.get([keys.blob(digest)]);
  const record = decode<BlobRecord>(entries[0]);
  if (record !== undefined && record.version !== seen.version && !record.value.damaged) {
    const other = await openRecord(ctx, digest, record, range);
    if (other !== undefined) return other;
  }
  const { value } = record ?? seen;
  if (!stale) damaged(ctx, digest, value, "missing or not the content its digest names");
  throw absent(stale, blobUnknown(name, digest));
}

async function openRecord(
  ctx: Context,
  digest: Digest,
  blob: Versioned<BlobRecord>,
  range: ByteRange | undefined,
): Promise<BlobBody | undefined> {
  const { locator, size, verified } = blob.value;
  if (!verified && range === undefined && size > VERIFY_FIRST_MAX) {
    const body = await ctx.blobs.open(locator, size);
    if (body !== undefined) return verifiedBody(ctx, digest, blob, body);
  } else if (verified || (await verifyWhole(ctx, digest, blob))) {
    return ctx.blobs.open(locator, size, range);
  }
  return undefined;
}

function damaged(ctx: Context, digest: Digest, blob: BlobRecord, problem: string): void {
  ctx.alarm(`stored bytes are ${problem}; push the content again to heal it`, {
    digest,
    locator: blob.locator,
    size: blob.size,
  });
}

/** That something is not there can be said by the truth alone. */
export function absent(stale: boolean, unknown: OciError): Error {
  return stale
    ? new PerhapsAbsent("the last known state lacks it, and the metadata cannot be reached")
    : unknown;
}

export function manifestUnknown(name: RepositoryName, reference: string): OciError {
  return new OciError("MANIFEST_UNKNOWN", undefined, { detail: { name, reference } });
}

export function blobUnknown(name: RepositoryName, digest: Digest): OciError {
  return new OciError("BLOB_UNKNOWN", undefined, { detail: { name, digest } });
}
