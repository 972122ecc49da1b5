/** The parent's own figures, and the text of all of them. */
import { Metrics, exposition, merge, type Snapshot } from "../base/metrics.ts";
import { clusterGauges } from "./cluster-metrics.ts";
import type { NodeStores } from "./node-stores.ts";

export interface Sources {
  readonly version: string;
  readonly supervisor: {
    readonly alive: number;
    readonly restarts: number;
    metrics(): Promise<Snapshot>;
  };
  readonly stores: NodeStores;
  /** Bytes and number of stored blobs as last counted. */
  readonly counted: () => { readonly bytes: number; readonly blobs: number } | undefined;
}

/** What `/metrics` answers: workers and parent as one. */
export function collector(sources: Sources): () => Promise<string> {
  const { supervisor, stores } = sources;
  const { blobs, recorder } = stores;
  const metrics = new Metrics();
  const build = metrics.gauge("holdfast_build_info", "1; the labels say which program this is.");
  build.with({ version: sources.version, bun: Bun.version }).set(1);
  const workers = metrics.gauge("holdfast_workers", "Workers alive.").with();
  const restarts = metrics
    .counter("holdfast_worker_restarts_total", "Workers that died and were replaced.")
    .with();
  const resident = metrics
    .gauge("holdfast_parent_resident_bytes", "Memory resident of the parent process.")
    .with();
  const commits = metrics
    .counter("holdfast_metadata_commits_total", "Commits that changed metadata.")
    .with();
  const groups = metrics
    .counter("holdfast_metadata_groups_total", "Groups of commits, each made durable by one fsync.")
    .with();
  const free = metrics.gauge("holdfast_storage_free_bytes", "Room left for blobs.");
  const total = metrics.gauge("holdfast_storage_total_bytes", "Size of the blobs' file system.");
  const bytes = metrics.gauge("holdfast_blob_bytes", "Bytes of all stored blobs, as last counted.");
  const count = metrics.gauge("holdfast_blobs", "Number of stored blobs, as last counted.");

  const uncovered = metrics
    .gauge("holdfast_journal_uncovered_commits", "Commits that the journal does not have yet.")
    .with();
  const lag = metrics
    .gauge("holdfast_journal_lag_seconds", "How long the first of those has been waiting.")
    .with();
  const trouble = metrics
    .gauge("holdfast_journal_trouble", "1 while the journal cannot be written, else 0.")
    .with();
  const segments = metrics
    .counter("holdfast_journal_segments_total", "Segments of the journal written by this node.")
    .with();

  const { revisions, cluster } = stores;
  const showCluster = cluster && clusterGauges(metrics);
  let revision = revisions?.revision ?? 0;
  let restarted = 0;
  let written = 0;
  revisions?.onRevision((now) => {
    groups.add();
    commits.add(now - revision);
    revision = now;
  });
  metrics.beforeSnapshot(() => {
    workers.set(supervisor.alive);
    restarts.add(supervisor.restarts - restarted);
    restarted = supervisor.restarts;
    resident.set(process.memoryUsage.rss());
    const stored = sources.counted();
    if (stored) {
      bytes.with().set(stored.bytes);
      count.with().set(stored.blobs);
    }
    const journal = recorder.status();
    uncovered.set(journal.behind.commits);
    lag.set(journal.behind.ms / 1000);
    trouble.set(journal.trouble === undefined ? 0 : 1);
    segments.add(journal.segments - written);
    written = journal.segments;
  });

  return async () => {
    const [others, space, status] = await Promise.all([
      supervisor.metrics(),
      blobs.space().catch(() => undefined),
      cluster?.status(),
    ]);
    if (status) showCluster?.(status);
    if (space) {
      free.with().set(space.free);
      total.with().set(space.total);
    }
    return exposition(merge([others, metrics.snapshot()]));
  };
}
