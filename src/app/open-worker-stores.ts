/** One way of opening a worker's stores for each kind of `config.stores`. */
import { openDistributionLayout } from "../blobs/file/distribution-layout.ts";
import { openFileStore } from "../blobs/file/store.ts";
import type { Stores } from "../config/config.ts";
import { mayBeShownStale } from "../meta/keys.ts";
import { lastKnown } from "../meta/last-known.ts";
import { openLinked } from "../meta/link/linked.ts";
import type { MetaStore } from "../meta/port.ts";
import { connectClient } from "../meta/sqlite/client.ts";
import { bucketName, openBlobs, openObjects } from "./bucket.ts";
import { bucketCheck, filesCheck } from "./bytes-check.ts";
import { layoutInBucket } from "./foreign-place.ts";
import { metadataPath } from "./stores.ts";
import type { Opened, WorkerStores, WorkerStoresOptions } from "./worker-stores.ts";

export async function openWorkerStores(options: WorkerStoresOptions): Promise<WorkerStores> {
  await using held = new AsyncDisposableStack();
  const { stores } = options.config;
  const opened =
    stores.kind === "cluster"
      ? await (await import("./cluster-worker.ts")).openOfCluster(held, stores.cluster, options)
      : await openByItself(held, stores, options);
  const all = held.move();
  return { ...opened, [Symbol.asyncDispose]: () => all.disposeAsync() };
}

async function openByItself(
  held: AsyncDisposableStack,
  stores: Exclude<Stores, { readonly kind: "cluster" }>,
  options: WorkerStoresOptions,
): Promise<Opened> {
  const { config, bucket, run } = options;
  const meta = held.adopt(await openMeta(stores, options), (open) => open.close());
  if (bucket === undefined || stores.kind === "files") {
    const directory = config.data;
    const blobs = held.adopt(await openFileStore({ directory }), (open) => open.close());
    const foreign = openDistributionLayout(directory);
    return { meta, blobs, foreign, bytes: filesCheck(blobs) };
  }
  const { blobs } = await openBlobs(held, bucket, { meta, run });
  const bytes = bucketCheck(openObjects(bucket), bucketName(stores.bucket));
  return { meta, blobs, foreign: layoutInBucket(bucket), bytes };
}

async function openMeta(
  stores: Exclude<Stores, { readonly kind: "cluster" }>,
  { config, committer, onLost }: WorkerStoresOptions,
): Promise<MetaStore> {
  if (stores.kind !== "shared") {
    return connectClient({ path: metadataPath(config), socket: committer, onLost });
  }
  // The engines of databases are no part of what solo costs.
  const { openDatabase } = await import("./database.ts");
  const { store: engine } = await openDatabase(stores.database);
  return lastKnown(await openLinked({ engine, socket: committer, onLost }), mayBeShownStale);
}
