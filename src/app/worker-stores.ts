/** What a worker keeps its things in: reads go to the stores themselves, commits to the parent. */
import { openDistributionLayout } from "../blobs/file/distribution-layout.ts";
import { openFileStore } from "../blobs/file/store.ts";
import type { ForeignLayout } from "../blobs/foreign.ts";
import type { BlobStore } from "../blobs/port.ts";
import type { Config, Stores } from "../config/config.ts";
import { mayBeShownStale } from "../meta/keys.ts";
import { lastKnown } from "../meta/last-known.ts";
import { openLinked } from "../meta/link/linked.ts";
import type { MetaStore } from "../meta/port.ts";
import { connectClient } from "../meta/sqlite/client.ts";
import { bucketName, openBlobs, openObjects, type BucketAccess } from "./bucket.ts";
import { bucketCheck, type BytesCheck, filesCheck } from "./bytes-check.ts";
import { openDatabase } from "./database.ts";
import { layoutInBucket } from "./foreign-place.ts";
import { metadataPath } from "./stores.ts";

export interface WorkerStores extends AsyncDisposable {
  readonly meta: MetaStore;
  readonly blobs: BlobStore;
  readonly foreign: ForeignLayout | undefined;
  /** Whether the bytes can be reached. */
  readonly bytes: BytesCheck;
}

export interface WorkerStoresOptions {
  readonly config: Config;
  /** Path of the unix socket where the parent takes commits. */
  readonly committer: string;
  readonly bucket: BucketAccess | undefined;
  /** Names this process among all that ever ran. */
  readonly run: string;
  /** Called once when the parent is gone. */
  readonly onLost: () => void;
}

export async function openWorkerStores(options: WorkerStoresOptions): Promise<WorkerStores> {
  const { config, bucket, run } = options;
  await using held = new AsyncDisposableStack();
  const meta = held.adopt(await openMeta(config.stores, options), (open) => open.close());
  let blobs: BlobStore;
  let bytes: BytesCheck;
  if (bucket === undefined || config.stores.kind === "files") {
    blobs = held.adopt(await openFileStore({ directory: config.data }), (open) => open.close());
    bytes = filesCheck(blobs);
  } else {
    ({ blobs } = await openBlobs(held, bucket, { meta, run }));
    bytes = bucketCheck(openObjects(bucket), bucketName(config.stores.bucket));
  }
  const all = held.move();
  return {
    meta,
    blobs,
    foreign: bucket === undefined ? openDistributionLayout(config.data) : layoutInBucket(bucket),
    bytes,
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  };
}

async function openMeta(
  stores: Stores,
  { config, committer, onLost }: WorkerStoresOptions,
): Promise<MetaStore> {
  if (stores.kind !== "shared") {
    return connectClient({ path: metadataPath(config), socket: committer, onLost });
  }
  const { store: engine } = await openDatabase(stores.database);
  return lastKnown(await openLinked({ engine, socket: committer, onLost }), mayBeShownStale);
}
