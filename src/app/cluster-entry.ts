/** How a process becomes a node of its cluster: the peer port, forming or joining, etcd, the store in it. */
import type { Logger } from "../base/log.ts";
import { openMembership, type Membership } from "../cluster/membership/index.ts";
import { servePeers, type PeerServer } from "../cluster/peer/index.ts";
import type { ClusterConfig } from "../config/config.ts";
import { openClusterLink, type ClusterLink } from "./cluster.ts";
import {
  etcdPlaces,
  openClusterMetadata,
  type Meanwhile,
  type OpenedMetadata,
} from "./cluster-etcd.ts";
import type { Bring } from "./cluster-founding.ts";
import { refusal } from "./port.ts";
import { VERSION as version } from "./version.ts";

export interface EnterOptions {
  /** Data directory. */
  readonly data: string;
  readonly cluster: ClusterConfig;
  /** Fills the store of a new cluster, for which the other nodes wait. */
  readonly bring: Bring | undefined;
  /** What is to be done while there is no majority yet. */
  readonly meanwhile?: (node: Pick<Entered, "link" | "membership">) => Meanwhile;
  readonly log: Logger;
  /** Called where the others have removed this node, with a sentence. */
  readonly lost: (reason: string) => void;
  readonly signal: AbortSignal;
}

export interface Entered extends OpenedMetadata {
  readonly link: ClusterLink;
  readonly membership: Membership;
  readonly port: PeerServer;
}

/** Resolves once this node is a member and the store can be used. Throws as `openClusterMetadata`. */
export async function enterCluster(
  held: AsyncDisposableStack,
  { data, cluster, bring, meanwhile, log, lost, signal }: EnterOptions,
): Promise<Entered> {
  const { node, address, members, join } = cluster;
  const link = held.use(openClusterLink(cluster));
  const membership = await openMembership({
    ...etcdPlaces(cluster),
    data,
    node,
    address,
    members,
    join,
    brings: bring !== undefined,
    peers: link.peers,
    version,
    log,
  });
  const port = held.adopt(listen(cluster, link, log), (open) => open.close());
  port.setHandlers(membership.handlers);
  const metadata = await openClusterMetadata(held, {
    data,
    cluster,
    link,
    membership,
    bring,
    meanwhile: meanwhile?.({ link, membership }),
    log,
    lost,
    signal,
  });
  return { link, membership, port, ...metadata };
}

function listen({ listen: at }: ClusterConfig, link: ClusterLink, log: Logger): PeerServer {
  const { certificates, keys } = link;
  try {
    return servePeers({
      address: { hostname: at.host, port: at.port },
      certificates,
      keys,
      log,
    });
  } catch (error) {
    throw refusal(at, "cluster.listen (HOLDFAST_CLUSTER_LISTEN)", error);
  }
}
