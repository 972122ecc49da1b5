/** The metadata rebuilt from the journal, or from a backup, for whoever has lost it or wants an earlier state back. */
import { randomHex, systemClock } from "../base/clock.ts";
import type { Logger } from "../base/log.ts";
import { openFileObjects } from "../blobs/file/objects.ts";
import type { ObjectStore } from "../blobs/objects.ts";
import { fileKeeper } from "../blobs/s3/storj/index.ts";
import type { BucketConfig, Config, Stores } from "../config/config.ts";
import { restore, type OpenStore, type RestoreProgress } from "../journal/index.ts";
import { joinInstallation } from "../registry/installation.ts";
import { bucketName, openObjects, reachBucket } from "./bucket.ts";
import { BucketOwner } from "./bucket-owner.ts";
import { takeDataDirectory } from "./data-directory.ts";
import { refuseOtherShape } from "./data-shape.ts";
import { databaseName, openDatabase } from "./database.ts";
import { lastRun, rememberRun } from "./last-run.ts";
import { rebuildDisk } from "./rebuild-disk.ts";
import { StartError, starting } from "./start-error.ts";

export interface RebuildOptions {
  readonly config: Config;
  /** Milliseconds since the epoch; `undefined`: the latest state that the journal has. */
  readonly at: number | undefined;
  /** What it is rebuilt from; default the journal beside the blobs. */
  readonly backup?: ObjectStore | undefined;
  readonly log: Logger;
  readonly progress: (progress: RestoreProgress) => void;
  readonly signal: AbortSignal;
}

export interface Rebuilt {
  readonly entries: number;
  /** When the last commit of the rebuilt state was made; milliseconds since the epoch. */
  readonly reached: number;
  /** Segments at the journal's end that were damaged. */
  readonly torn: readonly string[];
  /** When the database was emptied, if the journal has that; it was passed over. Milliseconds since the epoch. */
  readonly wiped: number | undefined;
  /** Where the metadata that was there has been moved. */
  readonly kept: string | undefined;
}

const CLUSTER =
  "the metadata of a cluster cannot be rebuilt from one node: use the ones that are left";

/** No node may run meanwhile. Throws `StartError`. */
export function rebuild(options: RebuildOptions): Promise<Rebuilt> {
  return starting(async () => {
    using _lock = takeDataDirectory(options.config.data);
    if (options.config.stores.kind === "cluster") throw new StartError(CLUSTER);
    return await rebuildStore(options);
  });
}

/** The same for whoever holds the data directory's lock; not in a cluster. */
export async function rebuildStore(options: RebuildOptions): Promise<Rebuilt> {
  const { config, log } = options;
  refuseOtherShape(config);
  const { stores } = config;
  if (stores.kind === "files") {
    const objects = await openFileObjects(config.data);
    return rebuildDisk(config, objects, options);
  }
  if (stores.kind === "cluster") throw new StartError(CLUSTER);
  const bucket = await reachBucket(stores.bucket, fileKeeper(config.data), log);
  const objects = openObjects(bucket);
  return stores.kind === "shared"
    ? rebuildDatabase(options, stores, objects)
    : rebuildOwned(options, stores.bucket, objects);
}

async function rebuildDatabase(
  options: RebuildOptions,
  { database, bucket }: Extract<Stores, { readonly kind: "shared" }>,
  objects: ObjectStore,
): Promise<Rebuilt> {
  const open: OpenStore = async (above) => (await openDatabase(database, above)).store;
  const { at, backup = objects, progress, signal } = options;
  const { store, ...restored } = await restore({
    objects: backup,
    journal: objects,
    open,
    clock: systemClock,
    at,
    progress,
    signal,
  });
  try {
    const names = { database: databaseName(database), bucket: bucketName(bucket) };
    await joinInstallation(store, objects, systemClock, names);
  } finally {
    await store.close();
  }
  return { ...restored, kept: undefined };
}

/** Solo on a bucket: nobody else may own it, and what is rebuilt is this disk. */
async function rebuildOwned(
  options: RebuildOptions,
  bucket: BucketConfig,
  objects: ObjectStore,
): Promise<Rebuilt> {
  const { config, log } = options;
  const id = randomHex(8);
  const lost = (reason: string): void => log.error(reason);
  await using _owner = await BucketOwner.claim({
    objects,
    run: id,
    before: lastRun(config),
    bucket: bucketName(bucket),
    log,
    lost,
  });
  const rebuilt = await rebuildDisk(config, objects, options);
  rememberRun(config, id);
  return rebuilt;
}
