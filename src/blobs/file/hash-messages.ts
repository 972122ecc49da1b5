/** What the event loop and the hash thread say to each other. Both see the same file descriptors. */
import type { Algorithm } from "../../oci/digest.ts";

export type ToHashThread =
  /** A stream begins at `size` bytes of the file; `key` names a running hash that may have been kept. */
  | {
      readonly type: "begin";
      readonly stream: number;
      readonly fd: number;
      readonly size: number;
      readonly algorithm: Algorithm;
      readonly key: string;
    }
  /** More bytes. The thread writes full buffers only, unless it is to `flush`: then all it has. */
  | {
      readonly type: "write";
      readonly stream: number;
      readonly chunks: readonly Uint8Array<ArrayBuffer>[];
      readonly flush: boolean;
    }
  /** Asks for the digest of all bytes, read again where no hash of this algorithm runs. */
  | { readonly type: "digest"; readonly stream: number; readonly algorithm: Algorithm }
  /** The stream ends; its running hash is kept under `keep`, if given. */
  | { readonly type: "end"; readonly stream: number; readonly keep?: string | undefined }
  /** The thread shall end its writes under way, begin no others, and say so. */
  | { readonly type: "stop" };

export type FromHashThread =
  /** The file holds this many bytes. */
  | { readonly type: "written"; readonly stream: number; readonly size: number }
  | { readonly type: "digest"; readonly stream: number; readonly hex: string }
  /** The stream has failed: the first `size` bytes of the file are good, later chunks are dropped. */
  | {
      readonly type: "failed";
      readonly stream: number;
      readonly size: number;
      readonly code: string | undefined;
      readonly message: string;
    }
  /** The thread touches no descriptor any more: it was told so, or for the `error` that it cannot go on after. */
  | { readonly type: "stopped"; readonly error?: string };
