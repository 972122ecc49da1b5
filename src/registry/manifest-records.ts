/** The records that a manifest and its tags consist of, whether pushed or found. */
import { keys } from "../meta/keys.ts";
import { parseDigest, type Digest } from "../oci/digest.ts";
import type { Manifest } from "../oci/manifest.ts";
import type { RepositoryName, Tag } from "../oci/name.ts";
import {
  encode,
  REFERRER_ANNOTATIONS_MAX,
  type HistoryRecord,
  type ManifestRecord,
  type ReferrerRecord,
  type TagRecord,
} from "./records.ts";

export type Puts = { readonly key: string; readonly value: string }[];

export interface ManifestFacts {
  readonly name: RepositoryName;
  readonly digest: Digest;
  /** Bytes. */
  readonly size: number;
  readonly manifest: Manifest;
  readonly by: string;
  /** Milliseconds since the epoch. */
  readonly at: number;
}

/** The manifest itself, its hold on its bytes, and its place among its subject's referrers. */
export function manifestPuts(
  { name, digest, size, manifest, by, at }: ManifestFacts,
  incarnation: string,
  generation: string,
): Puts {
  const { mediaType, artifactType, annotations } = manifest;
  const subject = manifest.subject?.digest;
  const record: ManifestRecord = {
    mediaType,
    size,
    generation,
    incarnation,
    ...(subject === undefined ? {} : { subject }),
    by,
    at,
  };
  const puts: Puts = [
    { key: keys.manifest(name, digest), value: encode(record) },
    { key: keys.keep(digest, name), value: "{}" },
  ];
  if (subject !== undefined) {
    const small = JSON.stringify(annotations).length <= REFERRER_ANNOTATIONS_MAX;
    const referrer: ReferrerRecord = {
      mediaType,
      size,
      incarnation,
      ...(artifactType === undefined ? {} : { artifactType }),
      ...(small ? { annotations } : {}),
    };
    puts.push({ key: keys.referrer(name, subject, digest), value: encode(referrer) });
  }
  return puts;
}

/** Reverse indexes of what the manifest refers to. */
export function indexPuts({
  name,
  digest,
  manifest,
}: Pick<ManifestFacts, "name" | "digest" | "manifest">): Puts {
  const wanted = new Set<string>();
  for (const blob of manifest.blobs) wanted.add(keys.use(name, blob.digest, digest));
  for (const child of manifest.manifests) {
    wanted.add(keys.child(name, child.digest, digest));
    if (parseDigest(child.digest)) wanted.add(keys.use(name, child.digest, digest));
  }
  return [...wanted].map((key) => ({ key, value: "{}" }));
}

/** A tag that now shows the manifest, and the move in its history. */
export function tagPuts(
  {
    name,
    digest,
    size,
    manifest,
    by,
    at,
  }: Omit<ManifestFacts, "manifest"> & { readonly manifest: Pick<Manifest, "mediaType"> },
  tag: Tag,
  old: TagRecord | undefined,
  target: Pick<TagRecord, "incarnation" | "generation" | "moves">,
): Puts {
  const record: TagRecord = { digest, mediaType: manifest.mediaType, size, ...target, by, at };
  const before = old?.incarnation === target.incarnation ? { from: old.digest } : {};
  const history: HistoryRecord = { ...before, to: digest, by, at };
  return [
    { key: keys.tag(name, tag), value: encode(record) },
    { key: keys.tagged(name, digest, tag), value: "{}" },
    { key: keys.history(name, tag, target.moves), value: encode(history) },
  ];
}
