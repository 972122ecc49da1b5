/** A segment: a contiguous run of commits, whoever made them, as the store's watch told them. */
import { isJournaled } from "../meta/keys.ts";
import type { Change, Revision } from "../meta/port.ts";
import { JournalForeign } from "./errors.ts";
import { seal, unseal } from "./sealed.ts";

/** Version of the journal's form that this program writes. */
export const FORMAT = 1;

export interface SegmentHeader {
  readonly holdfast: "segment";
  readonly format: number;
  readonly installation: string;
  readonly writer: string;
  readonly after: Revision;
  readonly last: Revision;
  /** Milliseconds since the epoch. */
  readonly at: number;
}

export interface JournaledCommit {
  readonly revision: Revision;
  /** When its writer heard of it, which is before it was answered for; milliseconds since the epoch. */
  readonly at: number;
  /** No key twice. */
  readonly changes: Change["changes"];
}

export interface DecodedSegment {
  readonly header: SegmentHeader;
  readonly commits: readonly JournaledCommit[];
  /** False when its end is missing: `commits` are those before the tear. */
  readonly whole: boolean;
}

/** The line of a commit, or `undefined` when nothing that it did belongs into the journal. */
export function commitLine({ revision, changes }: Change, at: number): string | undefined {
  const kept = changes.filter(({ key }) => isJournaled(key));
  if (kept.length === 0) return undefined;
  const pairs = kept.map(({ key, value }) => (value === undefined ? [key] : [key, value]));
  return JSON.stringify([revision, at, pairs]);
}

export function encodeSegment(
  header: Omit<SegmentHeader, "holdfast" | "format">,
  lines: readonly string[],
): Promise<Uint8Array<ArrayBuffer>> {
  return seal({ holdfast: "segment", format: FORMAT, ...header } satisfies SegmentHeader, lines);
}

/** `undefined` when nothing can be made of the bytes. Throws `JournalForeign` for a form of the future. */
export function decodeSegment(bytes: Uint8Array<ArrayBuffer>): DecodedSegment | undefined {
  const unsealed = unseal(bytes);
  const header = unsealed?.header as Partial<SegmentHeader> | undefined;
  if (unsealed === undefined || header?.holdfast !== "segment") return undefined;
  requireFormat(header.format);
  const commits: JournaledCommit[] = [];
  for (const line of unsealed.lines) {
    const commit = parseCommit(line);
    // Where the end is missing, what is before it may be spoilt as well.
    if (commit === undefined) return { header: header as SegmentHeader, commits, whole: false };
    commits.push(commit);
  }
  return { header: header as SegmentHeader, commits, whole: unsealed.whole };
}

function parseCommit(line: string): JournaledCommit | undefined {
  try {
    const [revision, at, pairs] = JSON.parse(line) as [number, number, [string, string?][]];
    if (!Number.isSafeInteger(revision) || typeof at !== "number") return undefined;
    return { revision, at, changes: pairs.map(([key, value]) => ({ key, value })) };
  } catch {
    return undefined;
  }
}

export function requireFormat(format: number | undefined): void {
  if (format !== undefined && format > FORMAT)
    throw new JournalForeign(
      `the journal has format ${format}, this program knows up to ${FORMAT}: start the newer Holdfast that wrote it`,
    );
}
