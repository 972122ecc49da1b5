/** What a worker keeps its things in: reads go to the stores themselves, commits to the parent. */
import type { Logger } from "../base/log.ts";
import type { ForeignLayout } from "../blobs/foreign.ts";
import type { BlobStore, Locator } from "../blobs/port.ts";
import type { Config } from "../config/config.ts";
import type { Forward } from "../http/call.ts";
import type { MetaStore } from "../meta/port.ts";
import type { BucketAccess } from "./bucket.ts";
import type { BytesCheck } from "./bytes-check.ts";
import type { ClusterAccess } from "./cluster.ts";

export interface WorkerStores extends AsyncDisposable {
  readonly meta: MetaStore;
  readonly blobs: BlobStore;
  readonly foreign: ForeignLayout | undefined;
  /** Whether the bytes can be reached. */
  readonly bytes: BytesCheck;
  /** Only in a cluster. */
  readonly forward?: Forward;
}

export interface WorkerStoresOptions {
  readonly config: Config;
  /** Path of the unix socket where the parent takes commits. */
  readonly committer: string;
  readonly bucket: BucketAccess | undefined;
  readonly cluster: ClusterAccess | undefined;
  readonly log: Logger;
  /** Called for a blob that this node should hold and had to read from another. */
  readonly onMissing: (locator: Locator, size: number) => void;
  /** Names this process among all that ever ran. */
  readonly run: string;
  /** Called once when the parent is gone. */
  readonly onLost: () => void;
}

/** What is closed elsewhere. */
export type Opened = Omit<WorkerStores, typeof Symbol.asyncDispose>;
