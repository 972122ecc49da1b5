/**
 * The port for small named objects kept beside the blobs: journal, snapshots, installation record. A name is
 * one or more parts of `[A-Za-z0-9._-]+` joined by `/`. Errors: as in the blob port.
 */
export interface ObjectInfo {
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  /** Milliseconds since the epoch of the last write. */
  readonly modified: number;
}

export interface PutOptions {
  /**
   * An object of the name that is there already stays, and the result is false: of any number of concurrent writers
   * one gets true. Where the store cannot tell, `true` throws `BlobStoreUnavailable`, and `"nearly"` does what it can:
   * one who writes long after having looked may replace what another was told is there.
   */
  readonly ifAbsent?: boolean | "nearly";
}

export interface ObjectStore {
  /** Stores an object whole and durably; whoever reads sees all of it or nothing. */
  put(name: string, bytes: Uint8Array<ArrayBuffer>, options?: PutOptions): Promise<boolean>;

  get(name: string): Promise<Uint8Array<ArrayBuffer> | undefined>;

  /** Every object below `prefix`, which is empty or ends with `/`, in no order. Sees every put that had resolved before the call. */
  list(prefix: string): AsyncIterable<ObjectInfo>;

  /** Absence is success. */
  delete(name: string): Promise<void>;
}
