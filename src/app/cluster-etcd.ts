/** The etcd of a node: how it is started and asked, and the store in it. */
import { join } from "node:path";
import type { Logger } from "../base/log.ts";
import {
  EtcdProcess,
  etcdUrl,
  type EtcdOptions,
  type EtcdTlsFiles,
} from "../cluster/etcd/index.ts";
import type { EtcdStart, Membership, Place } from "../cluster/membership/index.ts";
import type { ClusterConfig, SupervisedEtcdConfig } from "../config/config.ts";
import { EtcdClient, openEtcd, type EtcdStore } from "../meta/etcd/index.ts";
import { waitUntilFresh } from "../meta/fresh.ts";
import { StoreUnavailable } from "../meta/port.ts";
import { clusterEtcd, type ClusterLink } from "./cluster.ts";

/** So often it is said why etcd does not serve yet. */
const SAID_MS = 10_000;
const RETRY_MS = 250;

/** Where the others find this node's etcd. */
export function etcdPlaces({ address, etcd }: ClusterConfig) {
  // Of an etcd that is somebody else's nobody asks us.
  const { peerPort, clientPort } =
    etcd.kind === "supervised" ? etcd : { peerPort: 0, clientPort: 0 };
  const host = address.slice(0, address.lastIndexOf(":"));
  return { etcdPeer: `${host}:${peerPort}`, etcdClient: `${host}:${clientPort}` };
}

interface MetadataOptions {
  /** Data directory. */
  readonly data: string;
  readonly cluster: ClusterConfig;
  readonly link: ClusterLink;
  readonly membership: Membership;
  readonly log: Logger;
}

/** Enters the cluster, starts the node's etcd where it is ours, and opens the store in it. */
export async function openClusterMetadata(
  held: AsyncDisposableStack,
  { data, cluster, link, membership, log }: MetadataOptions,
) {
  const { etcd: settings } = cluster;
  if (settings.kind === "etcd") {
    const access = { etcdClients: [] };
    const engine = await openWhenThere(held, cluster, link, access.etcdClients, log);
    return { etcd: undefined, api: undefined, engine, access };
  }
  const place = await membership.enter(new AbortController().signal);
  const etcd = await startEtcd(data, cluster, link, place, log);
  if (etcd) held.defer(() => etcd.stop());
  const engine = await openWhenThere(held, cluster, link, place.etcdClients, log);
  const api = new EtcdClient({
    endpoints: place.etcdClients.map(etcdUrl),
    tls: () => link.certificates.current(),
  });
  await membership.etcdRuns(api);
  return { etcd, api, engine, access: { etcdClients: place.etcdClients } };
}

async function startEtcd(
  data: string,
  cluster: ClusterConfig,
  { certificates }: ClusterLink,
  { etcd }: Place,
  log: Logger,
): Promise<EtcdProcess | undefined> {
  const { etcd: settings } = cluster;
  if (etcd === undefined || settings.kind !== "supervised") return undefined;
  const tls = await writeCertificates(data, certificates);
  certificates.onRenewed(() => void writeCertificates(data, certificates));
  return EtcdProcess.start({
    binary: settings.binary,
    etcd: etcdOptionsOf(data, cluster, settings, etcd, tls),
    log,
  });
}

export function writeCertificates(
  data: string,
  certificates: ClusterLink["certificates"],
): Promise<EtcdTlsFiles> {
  return certificates.writePem(join(data, "etcd-tls"));
}

export function etcdOptionsOf(
  data: string,
  cluster: ClusterConfig,
  { peerPort, clientPort, heartbeat, electionTimeout }: SupervisedEtcdConfig,
  start: Pick<EtcdStart, "clusterId" | "state" | "members">,
  tls: EtcdTlsFiles,
): EtcdOptions {
  const { etcdPeer, etcdClient } = etcdPlaces(cluster);
  const host = cluster.listen.host === "" ? "0.0.0.0" : cluster.listen.host;
  return {
    name: cluster.node,
    data: join(data, "etcd"),
    clusterId: start.clusterId,
    state: start.state,
    members: start.members,
    peer: { listen: `${host}:${peerPort}`, advertise: etcdPeer },
    client: { listen: `${host}:${clientPort}`, advertise: etcdClient },
    tls,
    heartbeatMs: heartbeat,
    electionMs: electionTimeout,
  };
}

/** Waits for etcd to serve: the members start one after another, and elect a leader. */
async function openWhenThere(
  held: AsyncDisposableStack,
  cluster: ClusterConfig,
  link: ClusterLink,
  etcdClients: readonly string[],
  log: Logger,
): Promise<EtcdStore> {
  let said = performance.now();
  for (;;) {
    try {
      const store = await openEtcd(clusterEtcd(cluster, link, { etcdClients }));
      const engine = held.adopt(store, (open) => open.close());
      await waitUntilFresh(engine);
      return engine;
    } catch (error) {
      if (!(error instanceof StoreUnavailable)) throw error;
      if (performance.now() - said > SAID_MS) {
        said = performance.now();
        log.warn("waiting for etcd", { because: error.message });
      }
      await Bun.sleep(RETRY_MS);
    }
  }
}
