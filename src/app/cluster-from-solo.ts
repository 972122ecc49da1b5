/**
 * A registry of the shape solo becomes the first node of a cluster, in place: its records are what the cluster begins
 * with, its blobs stay where they are, and the others fetch their copies. Cut short at any point it is done again, and
 * goes on; until the records are in etcd the database is what counts, from then on it is only kept.
 */
import { existsSync, renameSync } from "node:fs";
import { rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { systemClock } from "../base/clock.ts";
import { syncDirectory } from "../base/fsync.ts";
import type { Logger } from "../base/log.ts";
import { openFileObjects } from "../blobs/file/objects.ts";
import { openFileStore } from "../blobs/file/store.ts";
import type { Config } from "../config/config.ts";
import { journalInstallation, restore, writeSnapshot } from "../journal/index.ts";
import type { MetaStore } from "../meta/port.ts";
import { prepareSchema, readInstallation } from "../registry/schema.ts";
import { unpackBlobs } from "../registry/unpack.ts";
import type { Bring } from "./cluster-founding.ts";
import { claimNodeObjects } from "./cluster-journal.ts";
import { foreignInDirectory } from "./foreign-place.ts";
import { isPacked, keepPacks } from "./kept-packs.ts";
import { lastRun } from "./last-run.ts";
import { openMetadata } from "./metadata.ts";
import { progressLog } from "./progress-log.ts";
import { StartError } from "./start-error.ts";
import { metadataPath } from "./stores.ts";

/**
 * What a solo registry in the data directory brings to its cluster; `undefined` where there is none. The caller holds
 * the directory's lock. Throws `StartError` for one that cannot become a node.
 */
export async function bringSolo(
  config: Config,
  log: Logger,
  signal: AbortSignal,
): Promise<Bring | undefined> {
  const { stores, data } = config;
  if (stores.kind !== "cluster" || !existsSync(metadataPath(config))) return undefined;
  const { members, etcd } = stores.cluster;
  if (Object.keys(members).length === 0 || etcd.kind !== "supervised")
    throw new StartError(
      `${data} holds a registry of the shape solo, with which only a new cluster can begin that runs its own etcd: ` +
        `list its nodes in cluster.members, or name another data directory (--data)`,
    );
  if (lastRun(config) !== undefined)
    throw new StartError(
      `${data} is that of a registry whose blobs are in a bucket, which a cluster cannot copy: name another data ` +
        `directory (--data), and copy the images over with skopeo sync or crane copy`,
    );
  refuseForeign(data);
  await unpack(config, log, signal);
  const bringing = join(data, "bringing");
  const clear = (): Promise<void> => rm(bringing, { recursive: true, force: true });
  const finish = async (store: MetaStore): Promise<void> => {
    await clear();
    // The database last: while it is there, what was cut short is done again.
    await keepPacks(data, store, log);
    await putAside(config, log);
  };
  return async (store, state, { open, metadata }) => {
    await using held = new AsyncDisposableStack();
    const meta = held.adopt(await openMetadata(config), (open) => open.close());
    const installation = await readInstallation(meta);
    if (state === "ready") {
      // The start before this one came as far as that.
      if ((await readInstallation(store)) !== installation)
        throw new StartError(
          `the cluster has records of another registry than the one in ${dirname(metadataPath(config))}: ` +
            `move that away, or name another data directory (--data)`,
        );
      await held.disposeAsync();
      await finish(store);
      return store;
    }
    await store.close();
    await requireOwnJournal(data, installation);
    const journal = await claimNodeObjects(data, metadata);
    // By itself: what the journal has may not be what the database has come to.
    await clear();
    const objects = await openFileObjects(bringing);
    // Exact: nobody else commits.
    await writeSnapshot({ store: meta, objects, installation, clock: systemClock });
    await held.disposeAsync();
    log.info("filling the cluster with the records of this registry");
    let filled = store;
    const { entries } = await restore({
      objects,
      journal,
      open: async (above) => (filled = await open(above)),
      clock: systemClock,
      progress: progressLog(log),
      signal,
    });
    await prepareSchema(filled, systemClock);
    log.info("the cluster has the records of this registry", { entries });
    await finish(filled);
    return filled;
  };
}

/** Throws `StartError` for a data directory whose blobs are where distribution has put them. */
export function refuseForeign(data: string): void {
  if (foreignInDirectory(data) !== undefined)
    throw new StartError(
      `${data} still has the layout of distribution (docker/registry/v2), which a cluster cannot copy: start it ` +
        `without the section cluster, finish the adoption with holdfast adopt --finish, and come back`,
    );
}

async function requireOwnJournal(data: string, installation: string): Promise<void> {
  const found = await journalInstallation(await openFileObjects(data));
  if (found !== undefined && found !== installation)
    throw new StartError(
      `${data}/journal belongs to installation ${found}, and ${data}/metadata to ${installation}: move the journal away`,
    );
}

/** Small blobs are records in packs; what has copies is a file of its own. */
async function unpack(config: Config, log: Logger, signal: AbortSignal): Promise<void> {
  await using held = new AsyncDisposableStack();
  const meta = held.adopt(await openMetadata(config), (open) => open.close());
  const blobs = held.adopt(await openFileStore({ directory: config.data }), (open) => open.close());
  const unpacked = await unpackBlobs(meta, blobs, { isPacked, signal });
  if (unpacked.blobs > 0) log.info("gave each small blob a file of its own", { ...unpacked });
}

async function putAside(config: Config, log: Logger): Promise<void> {
  const directory = dirname(metadataPath(config));
  const plain = `${directory}.before-cluster`;
  const kept = existsSync(plain) ? `${plain}-${Date.now()}` : plain;
  renameSync(directory, kept);
  await syncDirectory(dirname(directory));
  log.info("the database of the registry as it was alone is kept", { kept });
}
