/**
 * How a node comes to its cluster. The order of a start: `openMembership`, the peer port with `handlers`, `enter`,
 * etcd as that says, `etcdRuns`.
 */
import { randomHex } from "../../base/clock.ts";
import type { Logger } from "../../base/log.ts";
import { waited } from "../../base/waited.ts";
import type { EtcdApi } from "../etcd/index.ts";
import type { PeerHandler, Peers } from "../peer/port.ts";
import { askAdmission, askAll, askState } from "./ask.ts";
import { decide, type Decision } from "./decide.ts";
import { Identity } from "./identity.ts";
import { createJoinHandler } from "./join.ts";
import { WaitLog } from "./progress.ts";
import { MembershipError, type EtcdStart, type Proposal, type Seat } from "./records.ts";
import { seedsOf } from "./seeds.ts";
import { createStateHandler } from "./state.ts";
import { bringersOf, firstMembers } from "./voters.ts";
import { findMembers, successorOf, type Heard, type Seed } from "./witnesses.ts";

export interface MembershipOptions {
  /** Data directory, absolute, locked by this process; `cluster.json` is ours there, `etcd/` is etcd's. */
  readonly data: string;
  readonly node: string;
  /** `host:port` where the others reach this node's peer port. */
  readonly address: string;
  /** `host:port` where the others reach this node's etcd, as a member and as clients. */
  readonly etcdPeer: string;
  readonly etcdClient: string;
  /** `cluster.members`, addresses by name, this node's among them; empty where `join` is not. */
  readonly members: Readonly<Record<string, string>>;
  /** `cluster.join`, addresses. */
  readonly join: readonly string[];
  readonly peers: Peers;
  /** Of the program. */
  readonly version: string;
  readonly log: Logger;
  /** This node has records that the cluster is to begin with; then it forms a cluster, and joins none. */
  readonly brings?: boolean;
  /** Milliseconds between two rounds of asking; default 1000. */
  readonly everyMs?: number;
}

/** A node's place in its cluster. */
export interface Place {
  readonly cluster: string;
  /** How to start the local etcd; `undefined`: this node has none and is a client of the others'. */
  readonly etcd: EtcdStart | undefined;
  /** Client addresses `host:port` of all known members of etcd, the own one first. */
  readonly etcdClients: readonly string[];
}

/** As the cluster's records have it. */
interface Remembered {
  readonly name: string;
  readonly address: string;
  readonly store?: string | undefined;
}

/** What came of a decision: this node is a member, has to ask anew at once, or to wait. */
type Step = "in" | "again" | { readonly because: string };

/** Throws `MembershipError`. */
export async function openMembership(options: MembershipOptions): Promise<Membership> {
  const { data, node, members, version, address, etcdPeer, etcdClient } = options;
  const seeds = Object.keys(members).length === 0 ? undefined : members;
  const place = {
    address,
    etcdPeer,
    etcdClient,
    ...(options.brings ? { brings: true as const } : {}),
  };
  const asked = seedsOf(options);
  const identity = await Identity.open({ data, node, place, seeds, version });
  return new Membership(options, identity, asked);
}

export class Membership {
  readonly #options: MembershipOptions;
  readonly #identity: Identity;
  readonly #seeds: readonly Seed[];
  #etcd: EtcdApi | undefined;
  /** By prefix. They answer from now on; who asks to be let in waits until `etcdRuns`. */
  readonly handlers: Readonly<Record<"/v1/state" | "/v1/join", PeerHandler>>;

  constructor(options: MembershipOptions, identity: Identity, seeds: readonly Seed[]) {
    const { peers, log } = options;
    this.#options = options;
    this.#identity = identity;
    this.#seeds = seeds;
    this.handlers = {
      "/v1/state": createStateHandler(identity),
      "/v1/join": createJoinHandler({ identity, peers, log, etcd: () => this.#etcd }),
    };
  }

  /** Minted in the data directory. */
  get store(): string {
    return this.#identity.record.store;
  }

  /** Whether this node was there when the cluster was formed, so that it knows who brings records, if anybody. */
  get isFounder(): boolean {
    return this.#identity.record.proposal !== undefined;
  }

  /** Who fills the new cluster with the records that it begins with. */
  get bringer(): string | undefined {
    return bringersOf(this.#identity.record.proposal?.seats ?? [])[0];
  }

  /** The nodes as last known. */
  get nodes(): readonly Seat[] {
    return this.#identity.record.nodes;
  }

  /**
   * Resolves once this node is a member, as it may be already, and its etcd is to be started. Throws
   * `MembershipError`, or the signal's reason.
   */
  async enter(signal: AbortSignal): Promise<Place> {
    const { log, peers, everyMs = 1000 } = this.#options;
    const wait = new WaitLog(log);
    let isIn = this.#identity.record.phase === "member" && !this.#identity.isLost;
    if (isIn) await Promise.all([this.#checkSuccessor(signal), this.#checkTwin(signal)]);
    while (!isIn) {
      const heard = await askAll(peers, this.#seedsNow(), signal);
      signal.throwIfAborted();
      const next = await this.#follow(this.#decide(heard), signal);
      isIn = next === "in";
      if (typeof next === "string") continue;
      wait.waits(next.because);
      await waited(everyMs, signal);
      signal.throwIfAborted();
    }
    return this.#place();
  }

  /** The local etcd serves, or, on a node without, that of the others: from now on this node lets others in. */
  async etcdRuns(api: EtcdApi): Promise<void> {
    if (this.#identity.record.etcd?.hasRun === false)
      await this.#identity.save(({ etcd }) => ({ etcd: etcd && { ...etcd, hasRun: true } }));
    this.#etcd = api;
  }

  /**
   * Keeps where the nodes of the cluster are, for the next start; `nodes` are all of them, and those that are new here
   * are asked for the rest. Throws nothing that the file does not.
   */
  async remember(nodes: readonly Remembered[]): Promise<void> {
    const known = new Map(this.nodes.map((seat) => [seat.name, seat]));
    const found = await Promise.all(nodes.map((node) => this.#seatOf(node, known.get(node.name))));
    const seats = found.filter((seat) => seat !== undefined);
    if (JSON.stringify(seats) !== JSON.stringify(this.nodes))
      await this.#identity.save({ nodes: seats });
  }

  /** What keeps other nodes from answering this one, a sentence each; default all that it knows. */
  async obstacles(
    signal: AbortSignal,
    seeds: readonly Seed[] = this.#seedsNow(),
  ): Promise<readonly string[]> {
    const heard = await askAll(this.#options.peers, seeds, signal);
    return findMembers(this.#identity.answer(), heard).obstacles;
  }

  async #seatOf(node: Remembered, known: Seat | undefined): Promise<Seat | undefined> {
    const { name, address, store = known?.store } = node;
    if (known?.address === address && known.store === store) return known;
    const answer = await askState(this.#options.peers, { name, address });
    return "failure" in answer || answer.node !== name ? known : answer.seat;
  }

  #decide(heard: readonly Heard[]): Decision {
    const { isLost } = this.#identity;
    return decide({ own: this.#identity.answer(), isLost, heard, mint: () => randomHex(8) });
  }

  async #follow(decision: Decision, signal: AbortSignal): Promise<Step> {
    const { log } = this.#options;
    switch (decision.kind) {
      case "wait":
        return decision;
      case "refuse":
        throw new MembershipError(decision.because);
      case "agree": {
        const { proposal } = decision;
        const { cluster } = proposal;
        await this.#identity.save({ phase: "forming", cluster, proposal, nodes: proposal.seats });
        log.info("agreed to form a cluster", { cluster, nodes: proposal.seats.map((s) => s.name) });
        return "again";
      }
      case "form":
        await this.#form(decision.proposal);
        return "in";
      case "join":
        if (this.#options.brings === true && !this.#isAwaited(decision.cluster))
          throw new MembershipError(this.#cannotBring(decision.via));
        return this.#join(decision.cluster, decision.via, signal);
      default:
        return decision satisfies never;
    }
  }

  /** The cluster was formed for what this node brings, which may have lost its etcd since. */
  #isAwaited(cluster: string): boolean {
    return this.bringer === this.#options.node && this.#identity.record.cluster === cluster;
  }

  #cannotBring(members: readonly Seat[]): string {
    const who = members.map(({ name }) => name).join(", ");
    return (
      `there is a cluster already, of ${who}, and only a new one can begin with the records of this node: let it join ` +
      `with another data directory, or begin with all of cluster.members anew`
    );
  }

  async #form(proposal: Proposal): Promise<void> {
    const { id, cluster, seats, voters } = proposal;
    const members = firstMembers(proposal);
    const etcd = { clusterId: id, state: "new", members, hasRun: false } as const;
    await this.#identity.save({ phase: "member", cluster, proposal, etcd, nodes: seats });
    this.#options.log.info("formed the cluster", { cluster, voters });
  }

  async #join(cluster: string, via: readonly Seat[], signal: AbortSignal): Promise<Step> {
    const { peers, log } = this.#options;
    const reasons = new Set<string>();
    for (const member of via) {
      const answer = await askAdmission(peers, member, this.#identity.ownSeat, cluster, signal);
      signal.throwIfAborted();
      if ("failure" in answer) {
        if (answer.isFinal) throw new MembershipError(answer.failure);
        reasons.add(answer.failure);
        continue;
      }
      const { etcdMembers: members, nodes } = answer;
      const start = { clusterId: cluster, state: "existing", hasRun: false } as const;
      const etcd = members === undefined ? undefined : { ...start, members };
      this.#identity.clearEtcd();
      const proposal = this.#isAwaited(cluster) ? this.#identity.record.proposal : undefined;
      await this.#identity.save({ phase: "member", cluster, proposal, etcd, nodes });
      log.info("joined the cluster", { cluster, by: member.name });
      return "in";
    }
    return { because: `to join cluster ${cluster}: ${[...reasons].join("; ")}` };
  }

  /** A lost majority that comes back after the others went on without it must stay away. */
  async #checkSuccessor(signal: AbortSignal): Promise<void> {
    const { peers, data } = this.#options;
    const own = this.#identity.answer();
    const successor = successorOf(own, await askAll(peers, this.#seedsNow(), signal));
    signal.throwIfAborted();
    if (successor === undefined) return;
    throw new MembershipError(
      `${successor.node} has recovered the cluster without this node: move ${data}/etcd away to have this node ` +
        `join that with the blobs that it has`,
    );
  }

  /** A copied disk that runs elsewhere: both would vote as the one member of etcd that they are. */
  async #checkTwin(signal: AbortSignal): Promise<void> {
    const { peers, node, address, data } = this.#options;
    const { store, run } = this.#identity.answer();
    const former = this.nodes.find(({ name }) => name === node)?.address ?? address;
    for (const at of new Set([address, former])) {
      const answer = await askState(peers, { name: node, address: at }, signal);
      signal.throwIfAborted();
      if ("failure" in answer || answer.store !== store || answer.run === run) continue;
      throw new MembershipError(
        `at ${at} another process runs on a copy of ${data}: stop that one, or empty this directory and give this ` +
          `node a cluster.node and an address of its own`,
      );
    }
  }

  /** Those of the configuration, and of a member all that it knows. */
  #seedsNow(): readonly Seed[] {
    const { phase, nodes } = this.#identity.record;
    if (phase !== "member") return this.#seeds;
    const others = nodes.filter(({ name }) => name !== this.#options.node);
    const known = new Set(others.map(({ address }) => address));
    const rest = this.#seeds.filter(({ address }) => !known.has(address));
    return [...others.map(({ name, address }) => ({ name, address })), ...rest];
  }

  #place(): Place {
    const { cluster, etcd, nodes } = this.#identity.record;
    if (cluster === undefined) throw new MembershipError("cluster.json names no cluster");
    const { node, etcdClient } = this.#options;
    const others = nodes.filter(({ name }) => name !== node).map((seat) => seat.etcdClient);
    return { cluster, etcd, etcdClients: etcd === undefined ? others : [etcdClient, ...others] };
  }
}
