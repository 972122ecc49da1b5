/** Conditional pushes: RFC 9110 §13, on the digest that a reference shows. */
import type { Digest } from "../oci/digest.ts";
import { OciError } from "../oci/errors.ts";

/** ETags without their quotes, or `*` for "whatever there is". */
export interface Precondition {
  readonly ifMatch?: readonly string[] | "*";
  readonly ifNoneMatch?: readonly string[] | "*";
}

/** Throws DENIED with status 412 when the condition does not hold. */
export function checkPrecondition(
  { ifMatch, ifNoneMatch }: Precondition,
  shown: Digest | undefined,
): void {
  const matches = (tags: readonly string[] | "*"): boolean =>
    shown !== undefined && (tags === "*" || tags.includes(shown));
  if (ifMatch !== undefined && !matches(ifMatch)) throw failed("If-Match", shown);
  if (ifNoneMatch !== undefined && matches(ifNoneMatch)) throw failed("If-None-Match", shown);
}

function failed(header: string, shown: Digest | undefined): OciError {
  const now = shown === undefined ? "nothing is there" : `it shows ${shown}`;
  return new OciError("DENIED", `${header} does not hold: ${now}`, {
    status: 412,
    detail: { shown: shown ?? null },
    headers: shown === undefined ? {} : { ETag: `"${shown}"` },
  });
}
