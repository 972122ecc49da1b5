/** What distribution's layout is called below its root, in a directory as in a bucket. */
import { ALGORITHMS, algorithmOf, encodedOf, makeDigest, type Digest } from "../oci/digest.ts";
import type { Flaw } from "./foreign.ts";
import type { Locator } from "./port.ts";

export const TOP = "docker/registry/v2";
/** Longest text of a link: a SHA-512 digest and some white space. */
export const LINK_BYTES_MAX = 256;

const EMPTY: ReadonlySet<Digest> = new Set(
  ALGORITHMS.map((algorithm) =>
    makeDigest(algorithm, new Bun.CryptoHasher(algorithm).digest("hex")),
  ),
);

/** Where a blob lies, which is the locator of its bytes in both engines. */
export function locatorOf(digest: Digest): Locator {
  const hex = encodedOf(digest);
  return `${TOP}/blobs/${algorithmOf(digest)}/${hex.slice(0, 2)}/${hex}/data` as Locator;
}

/** Whether it is the digest of no bytes at all. */
export function isOfNothing(digest: Digest): boolean {
  return EMPTY.has(digest);
}

export function notPlain(where: string): Flaw {
  return { kind: "not a plain file or directory", where: shown(where) };
}

/** A foreign name as it can stand in a log: no control characters, not too long. */
export function shown(path: string): string {
  return JSON.stringify(path).slice(1, -1).slice(0, 400);
}
