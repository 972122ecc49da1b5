/** The metadata put back from a backup. */
import { existsSync } from "node:fs";
import { dirname } from "node:path";
import { openFileObjects } from "../blobs/file/objects.ts";
import { openFileStore } from "../blobs/file/store.ts";
import type { ObjectStore } from "../blobs/objects.ts";
import { fileKeeper } from "../blobs/s3/storj/index.ts";
import type { Config } from "../config/config.ts";
import { type Archive, checkArchive, journalInstallation, openArchive } from "../journal/index.ts";
import { keys } from "../meta/keys.ts";
import { bucketInstallation } from "../registry/installation.ts";
import { findLost, type Lost } from "../registry/lost.ts";
import { StoreHalfRestored } from "../registry/schema.ts";
import { bucketName, openObjects, reachBucket } from "./bucket.ts";
import { takeDataDirectory } from "./data-directory.ts";
import { refuseOtherShape } from "./data-shape.ts";
import { openMetadata } from "./metadata.ts";
import { rebuildStore } from "./rebuild.ts";
import type { RestoreBackupOptions, RestoredBackup } from "./restored-backup.ts";
import { StartError, starting } from "./start-error.ts";
import { metadataPath } from "./stores.ts";

/** No node may serve these stores meanwhile. Throws `StartError`. */
export function restoreBackup(options: RestoreBackupOptions): Promise<RestoredBackup> {
  return starting(async () => {
    const { config, file, signal } = options;
    const archive = await openArchive(await fileAt(file), file);
    await checkArchive(archive, file, { signal });
    using _lock = takeDataDirectory(config.data);
    refuseOtherShape(config);
    const { stores } = config;
    if (stores.kind === "cluster") {
      await requireOwn(await openFileObjects(config.data), archive, options);
      const { restoreCluster } = await import("./restore-cluster.ts");
      return await restoreCluster(options, stores.cluster, archive);
    }
    await requireFits(options, archive);
    const { entries, kept } = await rebuildStore({
      ...options,
      at: undefined,
      backup: archive.objects,
    });
    const restored = { entries, at: archive.label.at, kept, silent: [] };
    return stores.kind === "files"
      ? { ...restored, lost: await lostOnDisk(config, signal) }
      : restored;
  });
}

async function fileAt(file: string): Promise<Blob> {
  const blob = Bun.file(file);
  if (await blob.exists()) return blob;
  throw new StartError(`there is no file ${file}: name a backup that holdfast backup has made`);
}

/** An empty store in the data directory, or a database that says itself what it is, and the right bucket. */
async function requireFits(options: RestoreBackupOptions, archive: Archive): Promise<void> {
  const { config, log } = options;
  const { stores, data } = config;
  if (stores.kind === "cluster") return;
  if (stores.kind !== "shared") await requireEmptyDisk(config);
  if (stores.kind === "files") {
    await requireOwn(await openFileObjects(data), archive, options);
    return;
  }
  const bucket = await reachBucket(stores.bucket, fileKeeper(data), log);
  const names = { database: "database", bucket: bucketName(stores.bucket) };
  const found = await bucketInstallation(openObjects(bucket), names);
  if (found !== undefined && found !== archive.label.installation)
    throw new StartError(foreign(options.file, archive, `the ${names.bucket}`, found));
}

async function requireEmptyDisk(config: Config): Promise<void> {
  if (!existsSync(metadataPath(config))) return;
  const meta = await openMetadata(config).catch((error: unknown) => {
    // What a restoring that was cut short has left is nobody's.
    if (error instanceof StartError && error.cause instanceof StoreHalfRestored) return undefined;
    throw error;
  });
  if (meta === undefined) return;
  try {
    for (const prefix of [keys.repositories, keys.blobs]) {
      const { entries } = await meta.scan({ prefix, limit: 1, keysOnly: true });
      if (entries.length > 0)
        throw new StartError(
          `the registry in ${config.data} is not empty: move ${dirname(metadataPath(config))} away, or name another data directory (--data)`,
        );
    }
  } finally {
    await meta.close();
  }
}

/** What is beside the blobs tells whose they are. */
async function requireOwn(
  objects: ObjectStore,
  archive: Archive,
  { config, file }: RestoreBackupOptions,
): Promise<void> {
  const found = await journalInstallation(objects);
  if (found === undefined || found === archive.label.installation) return;
  const remedy = `name another data directory (--data), or move ${config.data}/journal away`;
  throw new StartError(`${foreign(file, archive, config.data, found)}: ${remedy}`);
}

function foreign(file: string, { label }: Archive, where: string, found: string): string {
  return `${file} is a backup of installation ${label.installation}, and ${where} belongs to installation ${found}`;
}

async function lostOnDisk(config: Config, signal: AbortSignal): Promise<Lost> {
  await using held = new AsyncDisposableStack();
  const meta = held.adopt(await openMetadata(config), (open) => open.close());
  const blobs = held.adopt(await openFileStore({ directory: config.data }), (open) => open.close());
  return await findLost(
    meta,
    async (asked) => Promise.all(asked.map((one) => blobs.stat(one.locator))),
    signal,
  );
}
