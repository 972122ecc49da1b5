/** Media types of manifests: image-spec "media-types", Docker's schema 2. */

export const OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json";
export const OCI_INDEX = "application/vnd.oci.image.index.v1+json";
export const DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json";
export const DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json";

const MEDIA_TYPE = /^[a-z0-9][a-z0-9!#$&^_.+-]{0,126}\/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}$/i;
const SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1+json";

/** The media type of a `Content-Type`, its parameters dropped; `undefined` when malformed or missing. */
export function parseMediaType(header: string | null): string | undefined {
  const type = header?.split(";", 1)[0]?.trim();
  return type !== undefined && MEDIA_TYPE.test(type) ? type : undefined;
}

/**
 * Whether a manifest may have this media type: any `application/*+json`, so that types not yet invented are
 * kept as well, but not Docker's schema 1, which no client can verify any more.
 */
export function isManifestType(type: string): boolean {
  return (
    MEDIA_TYPE.test(type) &&
    type.startsWith("application/") &&
    type.endsWith("+json") &&
    type !== SCHEMA_1
  );
}

export function isImageType(type: string): boolean {
  return type === OCI_MANIFEST || type === DOCKER_MANIFEST;
}

export function isIndexType(type: string): boolean {
  return type === OCI_INDEX || type === DOCKER_LIST;
}

/** Layers that a registry need not hold: they are fetched from their `urls` (image-spec "Non-Distributable Layers"). */
export function isForeignLayer(type: string): boolean {
  return type.includes(".nondistributable.") || type.includes(".foreign.");
}
