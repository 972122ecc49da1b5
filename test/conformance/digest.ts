import { createHash } from "node:crypto";

/** A digest algorithm that the suite pushes with. */
export type Algorithm = "sha256" | "sha512";

/** `algorithm:hex` of the bytes. */
export function digestOf(bytes: Uint8Array, algorithm: Algorithm = "sha256"): string {
  return `${algorithm}:${createHash(algorithm).update(bytes).digest("hex")}`;
}
