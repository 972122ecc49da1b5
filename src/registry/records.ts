/** The values behind the keys: what each fact says. Times are milliseconds since the epoch, sizes bytes. */
import type { Locator, UploadProgress } from "../blobs/port.ts";
import type { Algorithm, Digest } from "../oci/digest.ts";
import type { RepositoryName } from "../oci/name.ts";
import type { Entry, Revision } from "../meta/port.ts";

/** `repo!`: facts of a repository count only while they carry its present incarnation. */
export interface RepositoryRecord {
  readonly incarnation: string;
  readonly at: number;
}

/** `tag!`: a tag whose generation is not its manifest's, or whose incarnation is not its repository's, is absent. */
export interface TagRecord {
  readonly digest: Digest;
  readonly mediaType: string;
  readonly size: number;
  /** That of the manifest record meant. */
  readonly generation: string;
  readonly incarnation: string;
  /** Number of the latest history entry. */
  readonly moves: number;
  readonly by: string;
  readonly at: number;
}

/** `history!`: a tag moved, came (`from` missing) or went (`to` missing). */
export interface HistoryRecord {
  readonly from?: Digest;
  readonly to?: Digest;
  readonly by: string;
  readonly at: number;
}

/** `manifest!` */
export interface ManifestRecord {
  readonly mediaType: string;
  readonly size: number;
  /** New for every push that creates the record: what pointed to a deleted one does not come back to life. */
  readonly generation: string;
  readonly incarnation: string;
  /** Its key is needed to drop this manifest from its subject's referrers. */
  readonly subject?: string;
  readonly by: string;
  readonly at: number;
}

/** `referrer!` */
export interface ReferrerRecord {
  readonly mediaType: string;
  readonly size: number;
  readonly artifactType?: string;
  /** Left out above `REFERRER_ANNOTATIONS_MAX` bytes: then read from the manifest. */
  readonly annotations?: Readonly<Record<string, string>>;
  readonly incarnation: string;
}

/** Annotations kept inside a referrer record, in bytes of JSON. */
export const REFERRER_ANNOTATIONS_MAX = 4096;

/** `blob!` */
export interface BlobRecord {
  readonly size: number;
  readonly locator: Locator;
  /** False for foreign bytes taken over unread: they are checked on their first way out. */
  readonly verified: boolean;
  /** The bytes still belong to the layout of the registry they were taken over from: never removed by us. */
  readonly foreign?: true;
  /** The bytes were read and are not what the digest names: as good as none. */
  readonly damaged?: true;
  readonly at: number;
}

/** `link!` */
export interface LinkRecord {
  readonly incarnation: string;
  readonly at: number;
}

/** `upload!`: exists from the first bytes that were answered for, or from a cancel. */
export interface UploadRecord {
  readonly repository: RepositoryName;
  /** Who opened it: nobody else continues it. */
  readonly subject: string;
  readonly algorithm: Algorithm;
  /** The node that has the bytes, where each keeps its own. */
  readonly home?: string;
  /** What the store held when the latest request ended, as it said itself. */
  readonly progress?: UploadProgress;
  readonly cancelled?: boolean;
  readonly at: number;
}

/** `trash!`: bytes that were given up. */
export interface TrashRecord {
  /** Until then they stay: somebody may be reading them. */
  readonly notBefore?: number;
  /** So long the key stays after they were removed: somebody may still be about to name them. */
  readonly until?: number;
}

/** `meta!schema` and `meta!installation` */
export interface SchemaRecord {
  readonly version: number;
}
export interface InstallationRecord {
  readonly id: string;
  readonly at: number;
}

/** A record together with its version, which a later commit can expect. */
export interface Versioned<T> {
  readonly value: T;
  readonly version: Revision;
}

/** Decodes an entry; the caller names the record type that belongs to the key it asked for. */
export function decode<T>(entry: Entry | undefined): Versioned<T> | undefined {
  return entry && { value: JSON.parse(entry.value) as T, version: entry.version };
}

export function encode(record: object): string {
  return JSON.stringify(record);
}
