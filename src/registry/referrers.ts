/** Who refers to a manifest: distribution-spec §Listing referrers. */
import { keys, lastPart } from "../meta/keys.ts";
import { decode, type BlobRecord, type ReferrerRecord } from "./records.ts";
import { parseDigest, type Digest } from "../oci/digest.ts";
import { parseManifest, type ManifestLimits } from "../oci/manifest.ts";
import type { RepositoryName } from "../oci/name.ts";
import type { Context } from "./context.ts";
import { pages } from "../meta/pages.ts";
import { smallBytes } from "./pull.ts";
import { isLive } from "./repository.ts";

/** Bytes of an answer around its descriptors, generously. */
const FRAME_BYTES = 256;
/** What was taken under other limits is still read. */
const TAKEN: ManifestLimits = { jsonDepth: Infinity, descriptors: Infinity };

/** A descriptor as the answer shows it. */
export interface ReferrerDescriptor {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly size: number;
  readonly artifactType?: string;
  readonly annotations?: Readonly<Record<string, string>>;
}

export interface ReferrersRequest {
  readonly artifactType: string | undefined;
  readonly limit: number | undefined;
  /** Digest of the last referrer of the page before; exclusive. */
  readonly last: string | undefined;
}

export interface ReferrersPage {
  readonly descriptors: readonly ReferrerDescriptor[];
  /** The `last` of the next page, if there is one. */
  readonly next: Digest | undefined;
  readonly stale: boolean;
}

/** Never fails for want of the subject or the repository: the list is then empty. */
export async function listReferrers(
  ctx: Context,
  name: RepositoryName,
  subject: Digest,
  request: ReferrersRequest,
): Promise<ReferrersPage> {
  // Asked together with the first page: a store that is away is waited for once.
  const asked = ctx.meta.get([keys.repository(name)]);
  asked.catch(() => {});
  const prefix = keys.referrers(name, subject);
  const limit = request.limit ?? Infinity;
  const descriptors: ReferrerDescriptor[] = [];
  let bytes = FRAME_BYTES;
  const after = request.last === undefined ? undefined : prefix + request.last;
  let stale = false;
  for await (const page of pages(ctx.meta, prefix, after === undefined ? {} : { after })) {
    const { entries, stale: isOld } = await asked;
    stale ||= page.stale || isOld;
    for (const entry of page.entries) {
      const record = decode<ReferrerRecord>(entry)?.value;
      const digest = parseDigest(lastPart(entry.key));
      if (!record || !digest || !isLive(record, entries[0])) continue;
      if (request.artifactType !== undefined && record.artifactType !== request.artifactType) {
        continue;
      }
      const descriptor = await describe(ctx, digest, record);
      bytes += Buffer.byteLength(JSON.stringify(descriptor)) + 1;
      const full = descriptors.length >= limit || bytes > ctx.options.limits.referrersPageBytes;
      if (full && (descriptors.length > 0 || limit === 0)) {
        return { descriptors, next: descriptors.at(-1)?.digest, stale };
      }
      descriptors.push(descriptor);
    }
  }
  return { descriptors, next: undefined, stale };
}

async function describe(
  ctx: Context,
  digest: Digest,
  record: ReferrerRecord,
): Promise<ReferrerDescriptor> {
  const { mediaType, size, artifactType } = record;
  const annotations = record.annotations ?? (await annotationsOf(ctx, digest, mediaType));
  return {
    mediaType,
    digest,
    size,
    ...(artifactType === undefined ? {} : { artifactType }),
    ...(Object.keys(annotations).length === 0 ? {} : { annotations }),
  };
}

async function annotationsOf(
  ctx: Context,
  digest: Digest,
  mediaType: string,
): Promise<Readonly<Record<string, string>>> {
  const { entries } = await ctx.meta.get([keys.blob(digest)]);
  const bytes = await smallBytes(ctx, digest, decode<BlobRecord>(entries[0]), "bytes");
  return bytes === undefined ? {} : parseManifest(bytes, mediaType, TAKEN).annotations;
}
