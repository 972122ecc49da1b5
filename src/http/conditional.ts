/** Conditional requests: RFC 9110 §13. */
import type { Precondition } from "../registry/precondition.ts";

/** ETags of a header, without quotes and weakness; clients send digests unquoted as well. */
export function parseEtags(header: string | null): readonly string[] | "*" | undefined {
  if (header === null) return undefined;
  if (header.trim() === "*") return "*";
  return header.split(",").map((tag) =>
    tag
      .trim()
      .replace(/^W\//, "")
      .replace(/^"(.*)"$/, "$1"),
  );
}

/** Whether the client has this representation already. */
export function isNotModified(headers: Request["headers"], etag: string): boolean {
  const tags = parseEtags(headers.get("if-none-match"));
  return tags !== undefined && (tags === "*" || tags.includes(etag));
}

/** Whether a range may be answered in part: not when the client's part is of something else. */
export function rangeApplies(headers: Request["headers"], etag: string): boolean {
  const condition = headers.get("if-range");
  return condition === null || parseEtags(condition)?.[0] === etag;
}

export function preconditionOf(headers: Request["headers"]): Precondition {
  const ifMatch = parseEtags(headers.get("if-match"));
  const ifNoneMatch = parseEtags(headers.get("if-none-match"));
  return { ...(ifMatch && { ifMatch }), ...(ifNoneMatch && { ifNoneMatch }) };
}
