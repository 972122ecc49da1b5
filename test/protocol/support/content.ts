/** Content to push: bytes, digests, manifests. */
import { createHash } from "node:crypto";

export const OCI_IMAGE = "application/vnd.oci.image.manifest.v1+json";
export const OCI_INDEX = "application/vnd.oci.image.index.v1+json";
export const OCI_EMPTY = "application/vnd.oci.empty.v1+json";
export const OCI_CONFIG = "application/vnd.oci.image.config.v1+json";
export const OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip";
export const DOCKER_IMAGE = "application/vnd.docker.distribution.manifest.v2+json";

/** The blob that every artifact refers to. */
export const EMPTY_JSON = "{}";

export type Bytes = string | Uint8Array<ArrayBuffer>;
export type Algorithm = "sha256" | "sha512";
export type Json = Readonly<Record<string, unknown>>;

export function digestOf(content: Bytes, algorithm: Algorithm = "sha256"): string {
  return `${algorithm}:${createHash(algorithm).update(content).digest("hex")}`;
}

/** Bytes that look random and are the same for the same seed. */
export function bytesOf(size: number, seed = 1): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(size);
  let state = seed * 2_654_435_761;
  for (let i = 0; i < size; i++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    bytes[i] = state >>> 24;
  }
  return bytes;
}

export interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

export function descriptorOf(mediaType: string, content: Bytes): Descriptor {
  return { mediaType, digest: digestOf(content), size: Buffer.byteLength(content) };
}

/** An image of these layers, its config the empty one. */
export function imageOf(layers: readonly Bytes[], more: Json = {}): string {
  return JSON.stringify({
    schemaVersion: 2,
    mediaType: OCI_IMAGE,
    config: descriptorOf(OCI_CONFIG, EMPTY_JSON),
    layers: layers.map((layer) => descriptorOf(OCI_LAYER, layer)),
    ...more,
  });
}

export function indexOf(manifests: readonly Descriptor[], more: Json = {}): string {
  return JSON.stringify({ schemaVersion: 2, mediaType: OCI_INDEX, manifests, ...more });
}

/** An artifact without layers that says something of a subject. */
export function referrerOf(subject: Descriptor, artifactType: string, more: Json = {}): string {
  return imageOf([], {
    artifactType,
    config: descriptorOf(OCI_EMPTY, EMPTY_JSON),
    subject,
    ...more,
  });
}
