/**
 * What is written down about unfinished uploads, for all nodes to see: small, durable, and held by one holder at a
 * time. Errors: those of the blob port.
 */
import type { Digest } from "../../oci/digest.ts";
import { BlobStoreUnavailable } from "../port.ts";

/** All bytes in one complete object. */
export interface WholeBytes {
  /** Of the object at `data/`. */
  readonly whole: string;
}

/** Parts of a multipart upload, then objects that hold what does not fill the next part. */
export interface PiecedBytes {
  readonly parts?: {
    readonly stem: string;
    readonly uploadId: string;
    /** One a part, in order. */
    readonly etags: readonly string[];
  };
  readonly rests: readonly { readonly stem: string; readonly size: number }[];
  /** State of the hash of all bytes. */
  readonly hash: string;
  /** Stem of an object whose bytes went into the parts. */
  readonly spent?: string;
}

/** The bytes of an upload, all durable. */
export interface UploadState {
  /** Bytes. */
  readonly size: number;
  readonly digest: Digest;
  readonly proof: string;
  readonly bytes: WholeBytes | PiecedBytes;
}

/** What a holder may have written that no state names yet: everything is named after its stem. */
export interface Turn {
  readonly stem: string;
  /** The multipart upload it has begun. */
  readonly multipart?: string;
  /** What it is removing: the upload has no other bytes then. */
  readonly garbage?: UploadState;
}

export interface NotedUpload {
  readonly id: string;
  /** Milliseconds since the epoch of the last change. */
  readonly modified: number;
  readonly state: UploadState | undefined;
  /** Of the holder; or of one that has died in its turn. */
  readonly turn: Turn | undefined;
}

/** Another holder has the note: what it names is not ours to touch. */
export class HoldLost extends BlobStoreUnavailable {}

/** A note in our hand. Its methods throw `HoldLost` when another holder has taken it, and change nothing then. */
export interface HeldNote {
  readonly id: string;
  readonly state: UploadState | undefined;
  /** The turn of a holder before us who has died in it: what it names may be removed. */
  readonly broken: Turn | undefined;
  /** The state stays, unless the turn calls it garbage. */
  save(turn: Turn): Promise<void>;
  /** Lets go with all as it was found, or with a turn that is left broken: whoever comes next removes what it names. */
  leave(turn?: Turn): Promise<void>;
  /** Writes the state down and lets go. */
  release(state: UploadState): Promise<void>;
  /** Removes the note and lets go. */
  end(): Promise<void>;
}

export interface UploadNotes {
  /** Takes hold of an upload's note, made where there is none. Throws `UploadBusy` while a live holder has it. */
  hold(id: string, turn: Turn): Promise<HeldNote>;
  read(id: string): Promise<NotedUpload | undefined>;
  list(): AsyncIterable<NotedUpload>;
  close(): Promise<void>;
}
