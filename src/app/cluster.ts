/** A node of a cluster, as each of its processes opens it: the way to the other nodes, the etcd, the copies. */
import type { Logger } from "../base/log.ts";
import { openFileStore } from "../blobs/file/store.ts";
import type { PlacedStore } from "../blobs/placed.ts";
import type { BlobStore, Locator } from "../blobs/port.ts";
import { openClusterBlobs } from "../cluster/copies/index.ts";
import { etcdUrl } from "../cluster/etcd/index.ts";
import type { Nodes } from "../cluster/node.ts";
import { openNodes } from "../cluster/nodes/nodes.ts";
import {
  ClusterCertificates,
  clusterKeys,
  connectPeers,
  type ClusterKeys,
  type Peers,
} from "../cluster/peer/index.ts";
import type { ClusterConfig } from "../config/config.ts";
import { EtcdClient, type EtcdClientOptions } from "../meta/etcd/index.ts";
import type { MetaStore } from "../meta/port.ts";
import type { Presence } from "../meta/presence.ts";
import { etcdOptions } from "./database.ts";

/** What a worker is told by its parent beside the configuration. */
export interface ClusterAccess {
  /** Client addresses `host:port` of the members of etcd, the node's own first. */
  readonly etcdClients: readonly string[];
}

/** Bytes that blobs leave free: without room for its log etcd ends, and nothing can be deleted any more. */
const RESERVE = 256 * 2 ** 20;

/** Who we are among the nodes, and how to ask the others. */
export interface ClusterLink extends Disposable {
  readonly keys: ClusterKeys;
  readonly certificates: ClusterCertificates;
  readonly peers: Peers;
}

export function openClusterLink({ node, address, secret }: ClusterConfig): ClusterLink {
  const keys = clusterKeys(secret.text);
  const certificates = new ClusterCertificates({ keys, node, hosts: [hostOf(address)] });
  const peers = connectPeers({ certificates, keys, self: node });
  return { keys, certificates, peers, [Symbol.dispose]: () => peers[Symbol.dispose]() };
}

/** The host of `host:port`, without the brackets of an IPv6 address. */
export function hostOf(address: string): string {
  return address.slice(0, address.lastIndexOf(":")).replace(/^\[(.*)\]$/, "$1");
}

/** How the etcd of the cluster is asked. */
export function clusterEtcd(
  { etcd }: ClusterConfig,
  { certificates }: ClusterLink,
  { etcdClients }: ClusterAccess,
): EtcdClientOptions & { readonly prefix?: string } {
  if (etcd.kind === "etcd") return etcdOptions(etcd);
  return { endpoints: etcdClients.map(etcdUrl), tls: () => certificates.current() };
}

/** Asks the members of etcd that the nodes run, at these client URLs. */
export function etcdClient(
  { certificates }: Pick<ClusterLink, "certificates">,
  endpoints: readonly string[],
): EtcdClient {
  return new EtcdClient({ endpoints, tls: () => certificates.current() });
}

export interface ClusterBlobsOptions {
  readonly cluster: ClusterConfig;
  /** Data directory. */
  readonly data: string;
  readonly link: ClusterLink;
  readonly meta: MetaStore;
  readonly presence: Pick<Presence, "isAlive">;
  readonly log: Logger;
  /** Called for a blob that this node should hold and, as a reader found, does not. */
  readonly onMissing?: (locator: Locator, size: number) => void;
}

export interface ClusterBlobs {
  readonly local: PlacedStore;
  readonly nodes: Nodes;
  readonly blobs: BlobStore;
}

/** All of it is closed with `held`. */
export async function openCopies(
  held: AsyncDisposableStack,
  { cluster, data, link, meta, presence, log, onMissing }: ClusterBlobsOptions,
): Promise<ClusterBlobs> {
  const nodes = held.use(await openNodes({ meta, presence, self: cluster.node }));
  const local = held.adopt(
    await openFileStore({ directory: data, reserveBytes: RESERVE }),
    (open) => open.close(),
  );
  const { copies, durableCopies: durable } = cluster;
  const { peers } = link;
  const blobs = openClusterBlobs({
    local,
    nodes,
    peers,
    copies,
    durable,
    log,
    ...(onMissing === undefined ? {} : { onMissing }),
  });
  return { local, nodes, blobs };
}
