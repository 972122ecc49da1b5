/** Bytes and what they are called by. */
import { algorithmOf, makeDigest, type Algorithm, type Digest } from "../oci/digest.ts";

/** The digest of these bytes. */
export function digestOf(bytes: Uint8Array, algorithm: Algorithm = "sha256"): Digest {
  return makeDigest(algorithm, new Bun.CryptoHasher(algorithm).update(bytes).digest("hex"));
}

/** Whether the digest is that of these bytes. */
export function isDigestOf(digest: Digest, bytes: Uint8Array): boolean {
  return digestOf(bytes, algorithmOf(digest)) === digest;
}
