/** What a worker keeps its things in: reads go to the stores themselves, commits to the parent. */
import { openDistributionLayout } from "../blobs/file/distribution-layout.ts";
import { openFileStore } from "../blobs/file/store.ts";
import type { ForeignLayout } from "../blobs/foreign.ts";
import type { BlobStore, Locator } from "../blobs/port.ts";
import type { Logger } from "../base/log.ts";
import { forwarder } from "../cluster/forward.ts";
import type { ClusterConfig, Config, Stores } from "../config/config.ts";
import type { Forward } from "../http/call.ts";
import { openEtcd } from "../meta/etcd/index.ts";
import { mayBeShownStale } from "../meta/keys.ts";
import { lastKnown } from "../meta/last-known.ts";
import { openLinked } from "../meta/link/linked.ts";
import type { MetaStore } from "../meta/port.ts";
import { Presence } from "../meta/presence.ts";
import { connectClient } from "../meta/sqlite/client.ts";
import { bucketName, openBlobs, openObjects, type BucketAccess } from "./bucket.ts";
import { bucketCheck, type BytesCheck, filesCheck } from "./bytes-check.ts";
import { clusterEtcd, openClusterLink, openCopies, type ClusterAccess } from "./cluster.ts";
import { openDatabase } from "./database.ts";
import { layoutInBucket } from "./foreign-place.ts";
import { metadataPath } from "./stores.ts";

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

export async function openWorkerStores(options: WorkerStoresOptions): Promise<WorkerStores> {
  await using held = new AsyncDisposableStack();
  const { stores } = options.config;
  const opened =
    stores.kind === "cluster"
      ? await openOfCluster(held, stores.cluster, options)
      : await openByItself(held, stores, options);
  const all = held.move();
  return { ...opened, [Symbol.asyncDispose]: () => all.disposeAsync() };
}

type Opened = Omit<WorkerStores, typeof Symbol.asyncDispose>;

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

async function openOfCluster(
  held: AsyncDisposableStack,
  cluster: ClusterConfig,
  { config, cluster: access, committer, run, log, onMissing, onLost }: WorkerStoresOptions,
): Promise<Opened> {
  if (access === undefined) throw new Error("the parent did not say where its cluster is");
  const link = held.use(openClusterLink(cluster));
  const engine = await openEtcd(clusterEtcd(cluster, link, access));
  const linked = await openLinked({ engine, socket: committer, onLost });
  const meta = held.adopt(lastKnown(linked, mayBeShownStale), (open) => open.close());
  const presence = held.use(await Presence.begin({ meta, run }));
  const { data } = config;
  const { local, nodes, blobs } = await openCopies(held, {
    cluster,
    data,
    link,
    meta,
    presence,
    log,
    onMissing,
  });
  const forward = forwarder({ nodes, peers: link.peers });
  return { meta, blobs, foreign: undefined, bytes: filesCheck(local), forward };
}

async function openMeta(
  stores: Exclude<Stores, { readonly kind: "cluster" }>,
  { config, committer, onLost }: WorkerStoresOptions,
): Promise<MetaStore> {
  if (stores.kind !== "shared") {
    return connectClient({ path: metadataPath(config), socket: committer, onLost });
  }
  const { store: engine } = await openDatabase(stores.database);
  return lastKnown(await openLinked({ engine, socket: committer, onLost }), mayBeShownStale);
}
