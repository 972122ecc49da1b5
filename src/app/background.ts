/** What a node does beside answering requests. */
import { systemClock } from "../base/clock.ts";
import type { Logger } from "../base/log.ts";
import type { Config } from "../config/config.ts";
import { maintainJournal } from "../journal/index.ts";
import type { Registry } from "../registry/registry.ts";
import type { Job } from "./jobs.ts";
import { holdLease } from "./lease.ts";
import type { NodeStores } from "./node-stores.ts";

/** Blobs are counted for the metrics so often. */
const COUNT_MS = 300_000;
/** So often it is looked whether the journal wants a snapshot. */
const JOURNAL_MS = 300_000;
/** A node that follows the commits may be so far behind. */
const FORGET_MS = 600_000;

/** Bytes and number of stored blobs, once they have been counted. */
export interface Counted {
  current: Awaited<ReturnType<Registry["stats"]>> | undefined;
}

export function jobs(
  config: Config,
  registry: Registry,
  stores: NodeStores,
  log: Logger,
  counted: Counted,
): Job[] {
  const { objects, recorder } = stores;
  const purge: Job = {
    name: "purge expired uploads",
    everyMs: config.uploads.purgeInterval,
    async run(signal) {
      const purged = await registry.purgeUploads(signal);
      if (purged > 0) log.info("purged expired uploads", { purged });
      const { cluster } = stores;
      await cluster?.purgeShadows(systemClock.now() - config.uploads.expiry);
      const removed = cluster
        ? await registry.purgeUnknown(cluster.metadata, signal)
        : await registry.purgeOwnerless(signal);
      if (removed > 0) log.info("removed stored bytes that nothing names", { removed });
    },
  };
  const sweep: Job = {
    name: "remove bytes that were given up",
    everyMs: config.uploads.purgeInterval,
    async run(signal) {
      const removed = await registry.sweepTrash(signal);
      if (removed > 0) log.info("removed bytes that were given up", { removed });
    },
  };
  const journal: Job = {
    name: "keep the journal short",
    everyMs: JOURNAL_MS,
    run: (signal) =>
      maintainJournal({
        objects,
        clock: systemClock,
        windowMs: config.collection.grace,
        snapshot: (ending) => recorder.snapshot(ending),
        signal,
      }),
  };
  const count: Job = {
    name: "count blobs",
    everyMs: COUNT_MS,
    async run(signal) {
      const found = await registry.stats(signal);
      if (!signal.aborted) counted.current = found;
    },
  };
  let reached = 0;
  const forget: Job = {
    name: "let the database forget what the journal has",
    everyMs: FORGET_MS,
    async run() {
      if (reached > 0) await stores.forget?.(reached);
      reached = recorder.status().written;
    },
  };
  const shared = [sweep, ...(stores.forget ? [forget] : [])];
  // The nodes of a cluster have uploads and a journal each.
  const own = [purge, journal];
  const all = stores.cluster
    ? [...own, ...shared.map((job) => oncePerInstallation(job, stores))]
    : [...own, ...shared].map((job) => oncePerInstallation(job, stores));
  return config.metrics.listen ? [...all, count] : all;
}

/** Of several nodes the one that holds the lease does the job. */
function oncePerInstallation(job: Job, { meta, presence }: NodeStores): Job {
  if (presence === undefined) return job;
  return {
    ...job,
    async run(signal) {
      if (await holdLease(meta, presence, "jobs")) await job.run(signal);
    },
  };
}
