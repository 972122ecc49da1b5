/**
 * The port for content that another registry left where our own lies: read in place, never changed. What cannot
 * be used is a flaw, passed to `note` and left out; a disk that fails is `BlobStoreUnavailable`, as in the blob port.
 */
import type { Digest } from "../oci/digest.ts";
import type { RepositoryName, Tag } from "../oci/name.ts";
import type { StoredBlob } from "./port.ts";

export const FLAWS = [
  "name not valid",
  "not a plain file or directory",
  "link not readable as a digest",
  "bytes missing",
  "bytes empty",
  "manifest too large",
  "manifest damaged",
  "manifest of schema 1",
  "manifest not valid",
  "tag without its manifest",
] as const;

export type FlawKind = (typeof FLAWS)[number];

export interface Flaw {
  readonly kind: FlawKind;
  /** Path or digest: where an operator finds it. */
  readonly where: string;
  /** What more is to be said. */
  readonly reason?: string;
}

export type Note = (flaw: Flaw) => void;

/** Milliseconds since the epoch of the last write stand beside what was found. */
export interface ForeignRevision {
  readonly digest: Digest;
  readonly at: number;
}

export interface ForeignTag extends ForeignRevision {
  readonly tag: Tag;
}

export interface ForeignBlob extends StoredBlob {
  readonly at: number;
}

export interface ForeignLayout {
  /** Names of all repositories, in no order. */
  repositories(note: Note): AsyncIterable<RepositoryName>;

  has(name: RepositoryName): Promise<boolean>;

  /** Blobs that the repository shows. */
  layers(name: RepositoryName, note: Note): AsyncIterable<Digest>;

  /** Manifests that the repository shows. */
  revisions(name: RepositoryName, note: Note): AsyncIterable<ForeignRevision>;

  tags(name: RepositoryName, note: Note): AsyncIterable<ForeignTag>;

  /** The bytes of a digest, unread, or what is wrong with them. */
  blob(digest: Digest): Promise<ForeignBlob | Flaw>;

  /** A text that changes with whatever the repository shows. */
  stamp(name: RepositoryName): Promise<string>;
}

/** One whose bytes can become ours without being copied, so that it can go. */
export interface RemovableLayout extends ForeignLayout {
  /** Digests of all bytes, whoever shows them. */
  blobs(): AsyncIterable<Digest>;

  /**
   * Gives a blob a second name among our own, durably, without copying where the file system can: the same one
   * however often it is called. The first name stays.
   */
  claim(digest: Digest): Promise<StoredBlob>;

  /** Removes everything, durably. Whatever is cut short is taken up by the next call. */
  remove(): Promise<void>;
}

export function isFlaw(found: ForeignBlob | Flaw): found is Flaw {
  return "kind" in found;
}
