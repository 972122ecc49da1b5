/** Manifests and indexes as values: image-spec "manifest", "image-index", "descriptor". */
import { JsonError, parseJson, quote } from "../base/json.ts";
import { isDescriptorDigest } from "./digest.ts";
import { OciError } from "./errors.ts";
import {
  isForeignLayer,
  isImageType,
  isIndexType,
  isManifestType,
  OCI_INDEX,
  OCI_MANIFEST,
} from "./media-type.ts";

/** What a manifest says of content it refers to. The digest may be of an algorithm this registry cannot compute. */
export interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  /** Bytes. */
  readonly size: number;
  readonly artifactType?: string;
}

/** What the registry has to know of a manifest; the bytes it came from stand beside it and are never re-made from it. */
export interface Manifest {
  readonly mediaType: string;
  /** Config and layers that must be present: non-distributable layers are left out. */
  readonly blobs: readonly Descriptor[];
  /** Children of an index: manifests, or blobs in BuildKit's older cache format. */
  readonly manifests: readonly Descriptor[];
  readonly subject: Descriptor | undefined;
  /** As the referrers API shows it: the manifest's own, else an image's config media type. */
  readonly artifactType: string | undefined;
  readonly annotations: Readonly<Record<string, string>>;
}

export interface ManifestLimits {
  /** Levels of nesting. */
  readonly jsonDepth: number;
  /** Descriptors in one manifest, all kinds together. */
  readonly descriptors: number;
}

/**
 * Reads a manifest as it was pushed. `contentType` is the request's, without parameters.
 * Throws `OciError` MANIFEST_INVALID with the field and the remedy.
 */
export function parseManifest(
  bytes: Uint8Array,
  contentType: string | undefined,
  limits: ManifestLimits,
): Manifest {
  const root = parseRoot(bytes, limits.jsonDepth);
  const mediaType = mediaTypeOf(root, contentType);
  if ((isImageType(mediaType) || isIndexType(mediaType)) && root["schemaVersion"] !== 2) {
    throw invalid("schemaVersion", "must be 2");
  }

  const isImage = isImageType(mediaType);
  const isIndex = isIndexType(mediaType);
  if (isImage && root["manifests"] !== undefined) {
    throw invalid("manifests", "does not belong into an image manifest; push it as an index");
  }
  if (isIndex && (root["layers"] !== undefined || root["config"] !== undefined)) {
    // BuildKit's older cache index keeps its config among the manifests; a document of both kinds
    // would be read as one by some clients and as the other by others (CVE-2021-41190).
    throw invalid(
      root["layers"] === undefined ? "config" : "layers",
      "does not belong into an index",
    );
  }

  const config = root["config"] === undefined ? undefined : descriptor(root["config"], "config");
  if (isImage && !config)
    throw invalid("config", "is missing; an image manifest needs a descriptor there");
  if (isImage && root["layers"] === undefined)
    throw invalid("layers", "is missing; it may be an empty list");
  if (isIndex && root["manifests"] === undefined)
    throw invalid("manifests", "is missing; it may be an empty list");
  // In a manifest of a known kind `blobs` is a field like any other that we do not know.
  const layers = [
    ...descriptors(root, "layers"),
    ...(isImage || isIndex ? [] : descriptors(root, "blobs")),
  ];
  const manifests = descriptors(root, "manifests");
  const subject =
    root["subject"] === undefined ? undefined : descriptor(root["subject"], "subject");

  const count = layers.length + manifests.length + (config ? 1 : 0);
  if (count > limits.descriptors) {
    throw invalid(
      "layers",
      `and manifests hold ${count} descriptors; at most ${limits.descriptors} are taken (limits.descriptors)`,
    );
  }
  // distribution-spec §Listing referrers: an empty one counts as missing.
  const artifactType = text(root, "artifactType") || (isImage ? config?.mediaType : undefined);
  return {
    mediaType,
    blobs: [
      ...(config ? [config] : []),
      ...layers.filter((layer) => !isForeignLayer(layer.mediaType)),
    ],
    manifests,
    subject,
    artifactType: artifactType || undefined,
    annotations: annotations(root["annotations"], "annotations"),
  };
}

type Json = Readonly<Record<string, unknown>>;

function invalid(field: string, problem: string): OciError {
  return new OciError("MANIFEST_INVALID", `manifest invalid: ${field} ${problem}`, {
    detail: { field },
  });
}

function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function parseRoot(bytes: Uint8Array, depthMax: number): Json {
  try {
    const root = parseJson(bytes, depthMax);
    if (isObject(root)) return root;
  } catch (error) {
    if (error instanceof JsonError)
      throw new OciError("MANIFEST_INVALID", `manifest invalid: ${error.message}`);
    throw error;
  }
  throw new OciError("MANIFEST_INVALID", "manifest invalid: not a JSON object");
}

function mediaTypeOf(root: Json, contentType: string | undefined): string {
  const inside = text(root, "mediaType");
  if (inside !== undefined && contentType !== undefined && inside !== contentType) {
    throw invalid(
      "mediaType",
      `is ${quote(inside)} but the Content-Type is ${quote(contentType)}; send the same in both`,
    );
  }
  const type =
    contentType ?? inside ?? (root["manifests"] === undefined ? OCI_MANIFEST : OCI_INDEX);
  if (!isManifestType(type)) {
    throw invalid(
      "mediaType",
      `${quote(type)} is not taken; OCI and Docker schema 2 manifests and other application/…+json types are`,
    );
  }
  return type;
}

function text(root: Json, field: string): string | undefined {
  const value = root[field];
  if (value !== undefined && typeof value !== "string") throw invalid(field, "must be a string");
  return value;
}

function descriptors(root: Json, field: string): Descriptor[] {
  const value = root[field];
  // Go's encoder writes an empty list as null.
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) throw invalid(field, "must be a list of descriptors");
  return value.map((item, i) => descriptor(item, `${field}[${i}]`));
}

function descriptor(value: unknown, field: string): Descriptor {
  if (!isObject(value)) throw invalid(field, "must be a descriptor");
  const { mediaType, digest, size, artifactType } = value;
  if (typeof mediaType !== "string") throw invalid(`${field}.mediaType`, "must be a string");
  if (typeof digest !== "string" || !isDescriptorDigest(digest))
    throw invalid(`${field}.digest`, "must be a digest such as sha256:<64 hex digits>");
  if (typeof size !== "number" || !Number.isSafeInteger(size) || size < 0)
    throw invalid(`${field}.size`, "must be a whole number of bytes, not negative");
  annotations(value["annotations"], `${field}.annotations`);
  return { mediaType, digest, size, ...(typeof artifactType === "string" ? { artifactType } : {}) };
}

function annotations(value: unknown, field: string): Readonly<Record<string, string>> {
  if (value === undefined || value === null) return {};
  if (!isObject(value)) throw invalid(field, "must be an object of strings");
  for (const [key, item] of Object.entries(value)) {
    if (typeof item !== "string") throw invalid(`${field}[${quote(key)}]`, "must be a string");
  }
  return value as Readonly<Record<string, string>>;
}
