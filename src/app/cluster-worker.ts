/** What a worker of a cluster's node keeps its things in. */
import { forwarder } from "../cluster/forward.ts";
import type { ClusterConfig } from "../config/config.ts";
import { openEtcd } from "../meta/etcd/index.ts";
import { mayBeShownStale } from "../meta/keys.ts";
import { lastKnown } from "../meta/last-known.ts";
import { openLinked } from "../meta/link/linked.ts";
import { Presence } from "../meta/presence.ts";
import { filesCheck } from "./bytes-check.ts";
import { clusterEtcd, openClusterLink, openCopies } from "./cluster.ts";
import type { Opened, WorkerStoresOptions } from "./worker-stores.ts";

/** All of it is closed with `held`. */
export async function openOfCluster(
  held: AsyncDisposableStack,
  cluster: ClusterConfig,
  { config, cluster: access, committer, run, log, onMissing, onLost }: WorkerStoresOptions,
): Promise<Opened> {
  if (access === undefined) throw new Error("the parent did not say where its cluster is");
  const link = held.use(openClusterLink(cluster));
  const engine = await openEtcd(clusterEtcd(cluster, link, access));
  const linked = await openLinked({ engine, socket: committer, onLost });
  const meta = held.adopt(lastKnown(linked, mayBeShownStale), (open) => open.close());
  // Uploads are held by their node, which its parent beats for.
  const presence = held.use(await Presence.begin({ meta, run, isSeen: false }));
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
