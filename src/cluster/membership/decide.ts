/**
 * What a node does next, from what it has written down and what its seeds answered in one round. No I/O.
 *
 * A cluster forms as a distributed commit does: every listed node first writes the proposal down (`forming`), and a
 * node becomes a member only when, in a round begun after that, all others answered that they have it too. Rounds of
 * one node follow one another. So of two nodes, whichever asked later would have found the other one's proposal: two
 * proposals never both gain members that live. A proposal names stores, hence an emptied node has agreed to nothing.
 */
import type { NodeAnswer, Proposal, Seat } from "./records.ts";
import { bringersOf, firstVoters, isMostlyPresent, isOf } from "./voters.ts";
import { findMembers, type Heard } from "./witnesses.ts";

export interface Situation {
  readonly own: NodeAnswer;
  /** This node's etcd data, which it had, are gone. */
  readonly isLost: boolean;
  /** One for each seed but this node's own. */
  readonly heard: readonly Heard[];
  /** Mints an id. */
  readonly mint: () => string;
}

export type Decision =
  /** Write the proposal down. */
  | { readonly kind: "agree"; readonly proposal: Proposal }
  /** Become a member of the cluster that the proposal, agreed to by all, describes. */
  | { readonly kind: "form"; readonly proposal: Proposal }
  /** Ask one of these members to be let in. */
  | { readonly kind: "join"; readonly cluster: string; readonly via: readonly Seat[] }
  | { readonly kind: "wait"; readonly because: string }
  /** Nothing but the operator can help. */
  | { readonly kind: "refuse"; readonly because: string };

const wait = (because: string): Decision => ({ kind: "wait", because });

export function decide(situation: Situation): Decision {
  const { own, isLost, heard } = situation;
  const { refusal, obstacles, members, others } = findMembers(own, heard);
  if (refusal !== undefined) return { kind: "refuse", because: refusal };

  const clusters = new Set(members.map(({ cluster }) => cluster));
  if (clusters.size > 1) {
    const who = members.map(({ node, cluster }) => `${node} of ${cluster}`).join(", ");
    return wait(`the seeds are members of different clusters: ${who}`);
  }
  const [cluster] = clusters;
  if (cluster !== undefined) return enter(situation, cluster, members);

  const silent = obstacles.length === 0 ? "" : `: ${obstacles.join("; ")}`;
  if (isLost)
    return wait(`etcd's data are gone from this node, and no other member answers${silent}`);
  if (own.seeds === undefined) return wait(`no node of cluster.join is a member yet${silent}`);
  if (silent !== "") return wait(`forming the cluster needs every one of its members${silent}`);
  const odd = others.find((other) => !sameSeeds(own.seeds, other.seeds));
  if (odd !== undefined)
    return wait(
      odd.seeds === undefined
        ? `${odd.node} is told to join a cluster (cluster.join), not to form one`
        : `cluster.members differs on ${odd.node}: ${JSON.stringify(odd.seeds)} there, ${JSON.stringify(own.seeds)} here`,
    );
  return agree(situation, others);
}

/** There is a cluster. */
function enter({ own }: Situation, cluster: string, members: readonly NodeAnswer[]): Decision {
  const begun = members.find(
    ({ proposal }) => proposal !== undefined && isBegunWith(proposal, own),
  );
  if (begun?.proposal !== undefined) return { kind: "form", proposal: begun.proposal };
  return { kind: "join", cluster, via: members.map(({ seat }) => seat) };
}

/** Its etcd is one of those that the cluster began with, and has never run: whoever is forming has not started it. */
function isBegunWith({ seats, voters }: Proposal, own: NodeAnswer): boolean {
  const isSeated = seats.some(({ name, store }) => name === own.node && store === own.store);
  return own.phase === "forming" && isSeated && voters.includes(own.node);
}

/** All listed nodes answered, and none is a member. */
function agree({ own, mint }: Situation, others: readonly NodeAnswer[]): Decision {
  const all = [own, ...others].sort((a, b) => (a.node < b.node ? -1 : 1));
  const stores = new Map(all.map(({ node, store }) => [node, store]));
  const [first = own] = all;
  const bringers = bringersOf(all.map(({ seat }) => seat));
  if (bringers.length > 1)
    return {
      kind: "refuse",
      because:
        `${bringers.join(" and ")} each have the records of a registry, and a cluster can begin with those of one: ` +
        `let the others begin with another data directory`,
    };
  const isNow = (proposal: Proposal): boolean =>
    isOf(proposal, stores) && bringersOf(proposal.seats)[0] === bringers[0];

  if (first === own && !(own.proposal !== undefined && isNow(own.proposal)))
    return propose(all, stores, mint);

  const { proposal } = first;
  if (proposal === undefined || !isNow(proposal))
    return wait(`${first.node} is about to propose the cluster`);
  const lost = unaccounted(all, stores);
  if (lost !== undefined) return wait(lost);
  if (own.proposal?.id !== proposal.id) return { kind: "agree", proposal };
  const late = others.filter((other) => other.proposal?.id !== proposal.id);
  if (late.length > 0) {
    const who = late.map(({ node }) => node).join(", ");
    return wait(`${who} ${late.length > 1 ? "have" : "has"} yet to agree to the cluster`);
  }
  if (!proposal.voters.includes(own.node))
    return wait(`${proposal.voters.join(", ")} begin the cluster, and this node joins it then`);
  return { kind: "form", proposal };
}

function propose(
  all: readonly NodeAnswer[],
  stores: ReadonlyMap<string, string>,
  mint: () => string,
): Decision {
  const lost = unaccounted(all, stores);
  if (lost !== undefined) return wait(lost);
  const names = all.map(({ node }) => node);
  const cluster = all.find(({ proposal }) => proposal !== undefined)?.proposal?.cluster ?? mint();
  const seats = all.map(({ seat }) => seat);
  const voters = firstVoters(names, bringersOf(seats)[0]);
  return { kind: "agree", proposal: { id: mint(), cluster, seats, voters } };
}

/**
 * A proposal most of whose stores are gone may have become a cluster with data, lost with them: a second one must not
 * form in its place unasked. While most of its voters are here and no members, it never had a majority.
 */
function unaccounted(
  all: readonly NodeAnswer[],
  stores: ReadonlyMap<string, string>,
): string | undefined {
  for (const { node, proposal } of all) {
    if (proposal === undefined || isMostlyPresent(proposal, stores)) continue;
    const gone = proposal.seats.filter(({ name, store }) => stores.get(name) !== store);
    const names = gone.map(({ name }) => name).join(", ");
    return (
      `${node} was forming cluster ${proposal.cluster} with ${names} before their data directories were emptied, and ` +
      `what they may have held is lost: bring those disks back, or, if there was nothing, remove cluster.json on ${node}`
    );
  }
  return undefined;
}

function sameSeeds(a: NodeAnswer["seeds"], b: NodeAnswer["seeds"]): boolean {
  return b !== undefined && sorted(a) === sorted(b);
}

function sorted(seeds: NodeAnswer["seeds"] = {}): string {
  return JSON.stringify(Object.entries(seeds).sort(([a], [b]) => (a < b ? -1 : 1)));
}
