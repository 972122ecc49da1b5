/** What `/metrics` of a node says of its cluster. */
import type { Metrics } from "../base/metrics.ts";
import type { ClusterStatus } from "./cluster-status.ts";

/** Makes the gauges. Returns what sets them; a figure that is not known is NaN. */
export function clusterGauges(metrics: Metrics): (status: ClusterStatus) => void {
  const nodes = metrics.gauge("holdfast_cluster_nodes", "Nodes of the cluster, by state.");
  const quorum = metrics.gauge(
    "holdfast_cluster_quorum",
    "1 while a majority of the metadata's voters answers, else 0.",
  );
  const lacking = metrics.gauge(
    "holdfast_cluster_under_replicated_blobs",
    "Blobs with fewer copies than they should have; NaN while nobody knows.",
  );
  const bytes = metrics.gauge(
    "holdfast_cluster_missing_bytes",
    "Bytes still to be copied for them.",
  );
  const left = metrics.gauge(
    "holdfast_cluster_time_to_zero_seconds",
    "Until no blob lacks a copy, at the present rate.",
  );
  return ({ nodes: all, quorum: { reached }, healing }) => {
    const live = all.filter((node) => node.live).length;
    nodes.with({ state: "live" }).set(live);
    nodes.with({ state: "down" }).set(all.length - live);
    quorum.with().set(reached ? 1 : 0);
    const unknown = Number.NaN;
    lacking.with().set(healing.underReplicated ?? unknown);
    bytes.with().set(healing.missingBytes ?? unknown);
    left.with().set((healing.timeToZeroMs ?? unknown) / 1000);
  };
}
