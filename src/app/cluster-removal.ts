/** Taking a node out of the cluster: its record and its member of etcd go together, or one after the other by hand. */
import {
  etcdUrl,
  listMembers,
  MembershipRefused,
  memberStatus,
  removeMember,
  type EtcdApi,
  type EtcdMember,
} from "../cluster/etcd/index.ts";
import type { Nodes } from "../cluster/node.ts";
import { NodeRefused, removeNode } from "../cluster/nodes/index.ts";
import type { ClusterConfig } from "../config/config.ts";
import { StoreUnavailable, type MetaStore } from "../meta/port.ts";
import type { Presence } from "../meta/presence.ts";
import { etcdPlaces } from "./cluster-etcd.ts";

export interface Removal {
  readonly config: ClusterConfig;
  readonly meta: MetaStore;
  readonly presence: Presence;
  readonly nodes: Nodes;
  /** Of the etcd that the nodes run; `undefined` where it is somebody else's. */
  readonly api: EtcdApi | undefined;
  /** Asks the member at these client URLs and no other. */
  readonly at: (clientUrls: readonly string[]) => EtcdApi;
  /** No blob has fewer copies than it should. */
  readonly isDrained: boolean;
  readonly force: boolean;
}

/** etcd looks at its connections for so long before it lets a member go. */
const SETTLING_MS = 10_000;
const LOOK_MS = 3000;
const RETRY_MS = 500;

/**
 * `name`: a node's, or the address of a member of etcd that never became one. May be repeated after it failed. Throws
 * `NodeRefused`, `StoreUnavailable`.
 */
export async function removeFromCluster(name: string, removal: Removal): Promise<void> {
  const { config, meta, presence, nodes, api, isDrained, force } = removal;
  const record = nodes.all().find((node) => node.name === name);
  const members = api === undefined ? [] : await membersOf(api);
  const member = members.find((one) => isOf(one, name, record?.address, config));
  if (record === undefined && member === undefined) {
    const names = nodes.all().map((node) => node.name);
    throw new NodeRefused(`there is no node "${name}"; the cluster has ${names.join(", ")}`);
  }
  if (record === undefined && nodes.all().some((node) => node.name === member?.name))
    throw new NodeRefused(`${name} is the etcd of node ${member?.name}: name that`);
  if (name === config.node)
    throw new NodeRefused(`${name} is the node that was asked: ask another one to remove it`);
  // First, for a node without a record ends itself, and its vote may be needed.
  if (member) await requireMajority(name, member, members, removal);
  if (record) await removeNode(meta, presence, name, { isDrained, force });
  if (api && member) await removeSettled(name, api, member.id);
}

/** A client that has just lost the member that it asks finds another one with the next request. */
async function membersOf(api: EtcdApi): Promise<EtcdMember[]> {
  const end = performance.now() + LOOK_MS;
  for (;;) {
    try {
      return await listMembers(api);
    } catch (error) {
      if (performance.now() > end) throw new StoreUnavailable(String(error), { cause: error });
      await Bun.sleep(RETRY_MS);
    }
  }
}

/** One that never ran has no name yet. */
function isOf(
  { name, peerUrls }: EtcdMember,
  wanted: string,
  address: string | undefined,
  { etcd }: ClusterConfig,
): boolean {
  if (name === wanted || peerUrls.includes(etcdUrl(wanted))) return true;
  if (address === undefined || etcd.kind !== "supervised") return false;
  return peerUrls.includes(etcdUrl(etcdPlaces({ address, etcd }).etcdPeer));
}

/** Whether those that are left can decide anything. Throws `NodeRefused`. */
async function requireMajority(
  name: string,
  member: EtcdMember,
  members: readonly EtcdMember[],
  { at }: Removal,
): Promise<void> {
  if (member.isLearner) return;
  const rest = members.filter(({ id, isLearner }) => id !== member.id && !isLearner);
  const answers = await Promise.all(
    rest.map(({ clientUrls }) =>
      memberStatus(at(clientUrls)).then(
        ({ leader }) => leader !== undefined,
        () => false,
      ),
    ),
  );
  const live = answers.filter((isLive) => isLive).length;
  if (live > rest.length / 2) return;
  throw new NodeRefused(
    `without ${name} only ${live} of ${rest.length} voters would answer, which is no majority: start the others first, ` +
      `or, where they are gone for good, remove them first`,
  );
}

async function removeSettled(name: string, api: EtcdApi, id: string): Promise<void> {
  const end = performance.now() + SETTLING_MS;
  for (;;) {
    try {
      return await removeMember(api, id);
    } catch (error) {
      if (error instanceof MembershipRefused && error.kind === "not-found") return;
      if (performance.now() > end)
        throw new NodeRefused(
          `etcd keeps the member of ${name} for now (${String(error)}): run the same command again in a moment`,
          { cause: error },
        );
      await Bun.sleep(RETRY_MS);
    }
  }
}
