/** What a node's parent says of its cluster, and does to it for the operator. */
import { isHealthy, type EtcdApi, type EtcdUpkeep } from "../cluster/etcd/index.ts";
import { clusterHealing, type Healer } from "../cluster/healing/index.ts";
import type { Nodes, NodeState } from "../cluster/node.ts";
import { drainNode, undrainNode } from "../cluster/nodes/index.ts";
import type { ClusterConfig } from "../config/config.ts";
import type { MetaStore } from "../meta/port.ts";
import type { Presence } from "../meta/presence.ts";
import type { ClusterAccess } from "./cluster.ts";
import type { Reach } from "./cluster-reach.ts";
import { removeFromCluster } from "./cluster-removal.ts";
import type {
  ClusterStatus,
  EtcdRole,
  NodeAction,
  NodeStatus,
  QuorumStatus,
} from "./cluster-status.ts";

export interface ClusterNode {
  /** For the workers. */
  readonly access: ClusterAccess;
  /** Names what the metadata go on from: another one after `node recover`. */
  readonly metadata: string;
  readonly healer: Healer;
  /** Requests about uploads of this node that clients have sent to others are answered by `answer`. */
  answerForwarded(answer: (request: Request) => Promise<Response>): void;
  /** Called when this node comes to be of no use to clients, with a sentence, and when it is again. */
  onCutOff(listener: (reason: string | undefined) => void): void;
  status(): Promise<ClusterStatus>;
  /** Removes what is left of other nodes' uploads that had no progress since `before`, milliseconds since the epoch. */
  purgeShadows(before: number): Promise<number>;
  /** Resolves to a sentence for the operator. Throws `NodeRefused`, `StoreUnavailable`. */
  act(name: string, action: NodeAction, force: boolean): Promise<string>;
}

export interface ClusterNodeOptions {
  readonly config: ClusterConfig;
  readonly access: ClusterAccess;
  readonly metadata: string;
  readonly meta: MetaStore;
  readonly presence: Presence;
  readonly nodes: Nodes;
  readonly healer: Healer;
  readonly upkeep: EtcdUpkeep | undefined;
  readonly api: EtcdApi | undefined;
  /** Asks the member of etcd at these client URLs and no other. */
  readonly at: (clientUrls: readonly string[]) => EtcdApi;
  readonly reach: Pick<Reach, "obstacles" | "onCutOff">;
  purgeShadows(before: number): Promise<number>;
  answerForwarded(answer: (request: Request) => Promise<Response>): void;
}

export function clusterNode(options: ClusterNodeOptions): ClusterNode {
  const { config, access, metadata, meta, nodes, healer, presence, api } = options;
  const view = {
    nodes,
    copies: config.copies,
    durable: config.durableCopies,
    downAfterMs: config.downAfter,
  };
  return {
    access,
    metadata,
    healer,
    purgeShadows: (before) => options.purgeShadows(before),
    answerForwarded: (answer) => options.answerForwarded(answer),
    onCutOff: (listener) => options.reach.onCutOff(listener),
    async status() {
      const [healing, reached] = await Promise.all([
        clusterHealing(meta, view).catch(() => undefined),
        hasQuorum(meta),
      ]);
      return {
        node: config.node,
        time: Date.now(),
        copies: config.copies,
        durableCopies: config.durableCopies,
        quorum: quorumOf(options, reached),
        obstacles: options.reach.obstacles(),
        nodes: nodes.all().map((node) => nodeStatus(node, options, healing)),
        healing: {
          underReplicated: healing?.underReplicated ?? null,
          missingBytes: healing?.missingBytes ?? null,
          timeToZeroMs: healing?.timeToZeroMs ?? null,
        },
      };
    },
    async act(name, action, force) {
      if (action === "drain") {
        await drainNode(meta, name);
        return `${name} takes no new copies; the others are taking over those it has: see holdfast status`;
      }
      if (action === "undrain") {
        await undrainNode(meta, name);
        return `${name} takes copies again`;
      }
      const { underReplicated } = await clusterHealing(meta, view);
      const isDrained = underReplicated === 0;
      await removeFromCluster(name, {
        config,
        meta,
        presence,
        nodes,
        api,
        at: options.at,
        isDrained,
        force,
      });
      return `${name} is no node of this cluster any more, and ends where it still runs; what it holds stays on its disk`;
    },
  };
}

async function hasQuorum(meta: MetaStore): Promise<boolean> {
  try {
    return !(await meta.get([])).stale;
  } catch {
    return false;
  }
}

function quorumOf({ upkeep, nodes }: ClusterNodeOptions, reached: boolean): QuorumStatus {
  if (upkeep === undefined) {
    return { reached, etcd: "external", voters: null, votersLive: null, leader: null };
  }
  const { members, leader } = upkeep.health();
  if (members.length === 0)
    return { reached, etcd: "supervised", voters: null, votersLive: null, leader: null };
  const voters = members.filter(({ isLearner }) => !isLearner);
  const known = new Set(nodes.all().map(({ name }) => name));
  const leading = members.find(({ id }) => id === leader)?.name;
  return {
    reached,
    etcd: "supervised",
    voters: voters.length,
    // Without a leader none is well, and who answers at all is what helps.
    votersLive: voters.filter((member) =>
      leader === undefined ? member.status !== undefined : isHealthy(member, leader),
    ).length,
    leader: leading !== undefined && known.has(leading) ? leading : null,
  };
}

function nodeStatus(
  node: NodeState,
  { upkeep, config, healer }: ClusterNodeOptions,
  healing: Awaited<ReturnType<typeof clusterHealing>> | undefined,
): NodeStatus {
  const record = node.name === config.node ? healer.numbers() : healing?.nodes.get(node.name);
  return {
    name: node.name,
    address: node.address,
    zone: node.zone ?? null,
    live: node.isLive,
    downMs: node.downSince === undefined ? 0 : Math.round(performance.now() - node.downSince),
    draining: node.draining ?? false,
    stillNeeded: node.draining ? (healing?.underReplicated ?? null) : null,
    store: node.store ?? null,
    version: node.version ?? null,
    disk: node.space ?? null,
    etcd: roleOf(node.name, upkeep),
    healing:
      record === undefined
        ? null
        : {
            missingBlobs: record.basis === undefined ? null : record.missing,
            missingBytes: record.basis === undefined ? null : record.missingBytes,
            bytesPerSecond: record.bytesPerSecond,
            repairs: record.repairs,
          },
  };
}

function roleOf(name: string, upkeep: EtcdUpkeep | undefined): EtcdRole | null {
  if (upkeep === undefined) return null;
  const { members, leader } = upkeep.health();
  if (members.length === 0) return null;
  const member = members.find((one) => one.name === name);
  if (member === undefined) return "none";
  if (member.isLearner) return "learner";
  return member.id === leader ? "leader" : "voter";
}
