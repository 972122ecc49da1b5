/** Byte ranges: RFC 9110 §14 on downloads, `<start>-<end>` of distribution-spec §Pushing a blob in chunks on uploads. */

/** Bytes `start` to `end`, both inclusive. */
export interface ByteSpan {
  readonly start: number;
  readonly end: number;
}

export type RangeRequest =
  /** No range, a unit we do not know, or a malformed one: the whole representation is the answer. */
  | { readonly kind: "whole" }
  | { readonly kind: "spans"; readonly spans: readonly ByteSpan[] }
  | { readonly kind: "unsatisfiable" };

const WHOLE: RangeRequest = { kind: "whole" };
const PART = /^(\d*)-(\d*)$/;

/**
 * Resolves a `Range` header against a representation of `size` bytes. Ends beyond the size are clamped, parts
 * that start beyond it drop out; more than `partsMax` parts are answered whole, as overlapping parts are
 * (RFC 9110 §14.2 lets a server ignore a range that costs more than it helps).
 */
export function resolveRange(header: string | null, size: number, partsMax: number): RangeRequest {
  if (header === null) return WHOLE;
  const [unit, set, ...rest] = header.split("=");
  if (unit?.trim().toLowerCase() !== "bytes" || set === undefined || rest.length > 0) return WHOLE;
  const parts = set.split(",").map((part) => part.trim());
  if (parts.length > partsMax) return WHOLE;

  const spans: ByteSpan[] = [];
  for (const part of parts) {
    const match = PART.exec(part);
    const [from, to] = [match?.[1], match?.[2]];
    if (from === undefined || to === undefined || (from === "" && to === "")) return WHOLE;
    if (from === "") {
      const length = Math.min(Number(to), size);
      if (length > 0) spans.push({ start: size - length, end: size - 1 });
      continue;
    }
    const start = Number(from);
    const end = to === "" ? size - 1 : Math.min(Number(to), size - 1);
    // RFC 9110 calls last < first invalid; clients that send it expect to be told so.
    if (to !== "" && Number(to) < start) return { kind: "unsatisfiable" };
    if (start < size) spans.push({ start, end });
  }
  if (spans.length === 0) return { kind: "unsatisfiable" };
  return overlaps(spans) ? WHOLE : { kind: "spans", spans };
}

function overlaps(spans: readonly ByteSpan[]): boolean {
  const sorted = [...spans].sort((a, b) => a.start - b.start);
  return sorted.some((span, i) => i > 0 && span.start <= (sorted[i - 1]?.end ?? -1));
}

const CHUNK = /^(?:bytes )?(\d+)-(\d+)(?:\/(?:\d+|\*))?$/;

/** The chunk of an upload's `Content-Range`, or `undefined` when it is malformed. */
export function parseChunkRange(header: string): ByteSpan | undefined {
  const match = CHUNK.exec(header.trim());
  if (!match) return undefined;
  const [start, end] = [Number(match[1]), Number(match[2])];
  return end >= start && Number.isSafeInteger(end) ? { start, end } : undefined;
}

/** The `Range` of an upload that holds `size` bytes: `0-0` for none, which docker's parser needs. */
export function uploadRange(size: number): string {
  return `0-${Math.max(0, size - 1)}`;
}
