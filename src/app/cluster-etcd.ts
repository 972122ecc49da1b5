/** The etcd of a node: how it is started and asked, and the store in it. */
import { join } from "node:path";
import { unlessAborted } from "../base/abort.ts";
import { describe, type Logger } from "../base/log.ts";
import { waited } from "../base/waited.ts";
import {
  EtcdProcess,
  etcdUrl,
  listMembers,
  type EtcdMember,
  type EtcdOptions,
  type EtcdTlsFiles,
} from "../cluster/etcd/index.ts";
import {
  MembershipError,
  type EtcdStart,
  type Membership,
  type Place,
} from "../cluster/membership/index.ts";
import type { ClusterConfig, SupervisedEtcdConfig } from "../config/config.ts";
import { openEtcd, type EtcdClient, type EtcdStore } from "../meta/etcd/index.ts";
import { waitUntilFresh } from "../meta/fresh.ts";
import { StoreUnavailable } from "../meta/port.ts";
import { clusterEtcd, etcdClient, type ClusterAccess, type ClusterLink } from "./cluster.ts";
import { EXTERNAL, foundStore, type Bring } from "./cluster-founding.ts";

/** So often it is said why etcd does not serve yet. */
const SAID_MS = 10_000;
const RETRY_MS = 250;
const LOOKS = 4;
const WRITE_AGAIN_MS = 600_000;

/** Where the others find the etcd of the node at this address. */
export function etcdPlaces({ address, etcd }: Pick<ClusterConfig, "address" | "etcd">) {
  // Of an etcd that is somebody else's nobody asks us.
  const { peerPort, clientPort } =
    etcd.kind === "supervised" ? etcd : { peerPort: 0, clientPort: 0 };
  const host = address.slice(0, address.lastIndexOf(":"));
  return { etcdPeer: `${host}:${peerPort}`, etcdClient: `${host}:${clientPort}` };
}

/** Resolves to what `majority` resolves to; `metadata` is the id of the cluster. */
export type Meanwhile = <T>(majority: Promise<T>, metadata: string) => Promise<T>;

interface MetadataOptions {
  /** Data directory. */
  readonly data: string;
  readonly cluster: ClusterConfig;
  readonly link: ClusterLink;
  readonly membership: Membership;
  /** Fills the store of a new cluster. */
  readonly bring: Bring | undefined;
  /** What is to be done while there is no majority yet. */
  readonly meanwhile: Meanwhile | undefined;
  readonly log: Logger;
  /** Called where the others have removed this node, with a sentence. */
  readonly lost: (reason: string) => void;
  readonly signal: AbortSignal;
}

export interface OpenedMetadata {
  /** Of the etcd that is ours. */
  readonly api: EtcdClient | undefined;
  readonly engine: EtcdStore;
  readonly access: ClusterAccess;
  /** Id of the cluster. */
  readonly metadata: string;
}

/** Enters the cluster, starts the node's etcd where it is ours, and opens the store in it. Throws the signal's reason. */
export async function openClusterMetadata(
  held: AsyncDisposableStack,
  options: MetadataOptions,
): Promise<OpenedMetadata> {
  const { cluster, link, membership, meanwhile = (majority) => majority } = options;
  const { etcd: settings } = cluster;
  if (settings.kind === "etcd") {
    const access = { etcdClients: [] };
    const engine = await openFounded(held, options, access, EXTERNAL);
    return { api: undefined, engine, access, metadata: EXTERNAL };
  }
  const place = await membership.enter(options.signal);
  const etcd = await startEtcd(options, place);
  if (etcd) held.defer(() => etcd.stop());
  const { cluster: metadata, etcdClients } = place;
  const access = { etcdClients };
  const first = await meanwhile(openWhenThere(options, etcdClients), metadata);
  await first.close();
  if (etcd) await requireMember(options, etcdClients.slice(1));
  const api = etcdClient(link, etcdClients.map(etcdUrl));
  await membership.etcdRuns(api);
  const engine = await openFounded(held, options, access, metadata);
  return { api, engine, access, metadata };
}

async function openFounded(
  held: AsyncDisposableStack,
  options: MetadataOptions,
  { etcdClients }: ClusterAccess,
  metadata: string,
): Promise<EtcdStore> {
  const { cluster, link, membership, bring, log, signal } = options;
  const engine = await foundStore({
    open: (above) =>
      above === undefined
        ? openWhenThere(options, etcdClients)
        : openEtcd({ ...clusterEtcd(cluster, link, { etcdClients }), above }),
    metadata,
    node: cluster.node,
    membership,
    bring,
    log,
    signal,
  });
  return held.adopt(engine, (open) => open.close());
}

async function startEtcd(
  { data, cluster, link: { certificates }, log, lost }: MetadataOptions,
  { etcd }: Place,
): Promise<EtcdProcess | undefined> {
  const { etcd: settings } = cluster;
  if (etcd === undefined || settings.kind !== "supervised") return undefined;
  const tls = await writeCertificates(data, certificates);
  keepWritten(data, certificates, log);
  return EtcdProcess.start({
    binary: settings.binary,
    etcd: etcdOptionsOf(data, cluster, settings, etcd, tls),
    log,
    onRemoved: () => lost(wasRemoved(cluster, data)),
  });
}

function wasRemoved({ node }: Pick<ClusterConfig, "node">, data: string): string {
  return (
    `the others have taken ${node} out of the cluster: to have it join anew, ` +
    `move ${join(data, "etcd")} away and start it, or empty ${data} first, if its blobs are of no use`
  );
}

/**
 * A node that others remove in its absence must not write itself down again. The others are asked, since its own
 * etcd may not have heard of it, more than once, since one of them may be late. Throws `MembershipError`.
 */
async function requireMember(
  { cluster, data, link, signal }: MetadataOptions,
  others: readonly string[],
): Promise<void> {
  if (others.length === 0) return;
  const api = etcdClient(link, others.map(etcdUrl));
  const own = etcdUrl(etcdPlaces(cluster).etcdPeer);
  let isMissed = false;
  for (let looks = 0; looks < LOOKS; looks++) {
    const members = await listMembers(api).catch(() => undefined);
    const isThere = ({ name, peerUrls }: EtcdMember): boolean =>
      name === cluster.node || peerUrls.includes(own);
    if (members?.some(isThere)) return;
    isMissed ||= members !== undefined;
    await waited(RETRY_MS, signal);
  }
  signal.throwIfAborted();
  if (isMissed) throw new MembershipError(wasRemoved(cluster, data));
}

/** What cannot be written, as on a full disk, is tried again: etcd reads the files anew for each connection. */
function keepWritten(data: string, certificates: ClusterLink["certificates"], log: Logger): void {
  const write = (): void => {
    writeCertificates(data, certificates).catch((error: unknown) => {
      log.error("etcd's new certificate cannot be written yet", { error: describe(error) });
      setTimeout(write, WRITE_AGAIN_MS).unref();
    });
  };
  certificates.onRenewed(write);
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
  { cluster, link, membership, log, signal }: MetadataOptions,
  etcdClients: readonly string[],
): Promise<EtcdStore> {
  let said = performance.now();
  for (;;) {
    try {
      const opening = openEtcd(clusterEtcd(cluster, link, { etcdClients }));
      const engine = await unlessAborted(opening, signal);
      try {
        await unlessAborted(waitUntilFresh(engine), signal);
        return engine;
      } catch (error) {
        await engine.close();
        throw error;
      }
    } catch (error) {
      if (!(error instanceof StoreUnavailable)) throw error;
      if (performance.now() - said > SAID_MS) {
        said = performance.now();
        // What hinders the nodes themselves hinders their etcd too, and says more of the cause.
        const obstacles = await membership.obstacles(signal);
        log.warn(`waiting for etcd: ${obstacles.join("; ") || error.message}`);
      }
      await waited(RETRY_MS, signal);
    }
  }
}
