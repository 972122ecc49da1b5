/** Content digests: image-spec "descriptor", §Digests. */

declare const digestBrand: unique symbol;

/** A digest in an algorithm this registry can compute: `sha256:<64 lower hex>` or `sha512:<128 lower hex>`. */
export type Digest = `${Algorithm}:${string}` & { readonly [digestBrand]: true };

/** The algorithms a blob or manifest may be stored under. */
export type Algorithm = "sha256" | "sha512";

export const ALGORITHMS: readonly Algorithm[] = ["sha256", "sha512"];

const STORABLE = /^(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/;
const GRAMMAR = /^[a-z0-9]+(?:[+._-][a-z0-9]+)*:[a-zA-Z0-9=_-]+$/;
/** Longest digest text taken of any algorithm, in characters. */
const TEXT_MAX = 512;

/** The digest, or `undefined` when the text is malformed or of an algorithm that cannot be stored. */
export function parseDigest(text: string): Digest | undefined {
  return STORABLE.test(text) ? (text as Digest) : undefined;
}

/**
 * Whether a descriptor may carry this text as its digest: any algorithm that fits the grammar passes,
 * since a registry need not verify what it does not hold; the known ones must be well-formed.
 */
export function isDescriptorDigest(text: string): boolean {
  if (text.length > TEXT_MAX || !GRAMMAR.test(text)) return false;
  const known = text.startsWith("sha256:") || text.startsWith("sha512:");
  return !known || STORABLE.test(text);
}

export function parseAlgorithm(text: string): Algorithm | undefined {
  return text === "sha256" || text === "sha512" ? text : undefined;
}

export function algorithmOf(digest: Digest): Algorithm {
  return digest.startsWith("sha256:") ? "sha256" : "sha512";
}

/** The hexadecimal part. */
export function encodedOf(digest: Digest): string {
  return digest.slice(7);
}

/** The digest of an algorithm and its lower-case hexadecimal hash. */
export function makeDigest(algorithm: Algorithm, hex: string): Digest {
  return `${algorithm}:${hex}` as Digest;
}
