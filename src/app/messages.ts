/** What parent and worker say to each other (IPC of Bun.spawn). */
import type { Snapshot } from "../base/metrics.ts";
import type { Locator } from "../blobs/port.ts";
import type { Config } from "../config/config.ts";
import type { Certificate } from "../http/server.ts";
import type { BucketAccess } from "./bucket.ts";
import type { ClusterAccess } from "./cluster.ts";
import type { Address } from "./port.ts";

/** Everything a worker needs to know; it reads no configuration itself. */
export interface WorkerStart {
  /** 1 to `config.workers`; a replacement takes over the number. */
  readonly worker: number;
  readonly config: Config;
  /** As `config.listen`, with real ports. */
  readonly listen: readonly Address[];
  readonly certificate: Certificate | undefined;
  /** Path of the unix socket where the parent takes commits. */
  readonly committer: string;
  readonly bucket: BucketAccess | undefined;
  readonly cluster: ClusterAccess | undefined;
  /** Names the process among all that ever ran. */
  readonly run: string;
}

export type ToWorker =
  | { readonly type: "start"; readonly start: WorkerStart }
  | { readonly type: "certificate"; readonly certificate: Certificate }
  /** Why the node is of no use though its own stores work; `undefined` when it is again. */
  | { readonly type: "cut off"; readonly reason: string | undefined }
  /** Ask for a snapshot. */
  | { readonly type: "metrics" }
  /** Finish what is under way, within `timeout` ms, and end. */
  | { readonly type: "drain"; readonly timeout: number };

export type FromWorker =
  | { readonly type: "ready" }
  /** The worker cannot start and ends; `reason` is a sentence. */
  | { readonly type: "failed"; readonly reason: string }
  /** A blob that this node should hold had to be read from another. */
  | { readonly type: "missing"; readonly locator: Locator; readonly size: number }
  | { readonly type: "metrics"; readonly snapshot: Snapshot };
