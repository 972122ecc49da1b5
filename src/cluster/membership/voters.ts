/** Whose etcd makes up a cluster, and what a proposal says of it. */
import { votersFor } from "../etcd/index.ts";
import type { Proposal, Seat } from "./records.ts";

/**
 * Names of those that begin a cluster of these nodes: one, three or five, the first in the order of names, and
 * `bringer` in any case.
 */
export function firstVoters(names: readonly string[], bringer?: string): string[] {
  const first = (name: string): number => (name === bringer ? 0 : 1);
  const inTurn = [...names].sort().sort((a, b) => first(a) - first(b));
  return inTurn.slice(0, votersFor(names.length)).sort();
}

/** Whether so many members are all that a cluster can use, however many nodes it has. */
export function isFull(members: number): boolean {
  return members >= votersFor(Infinity);
}

/** Whether a majority of a proposal's voters still have the stores that it names. */
export function isMostlyPresent(
  { seats, voters }: Proposal,
  stores: ReadonlyMap<string, string>,
): boolean {
  const present = seats.filter((s) => voters.includes(s.name) && stores.get(s.name) === s.store);
  return present.length > voters.length / 2;
}

/** Whether the proposal is of exactly these stores. */
export function isOf({ seats }: Proposal, stores: ReadonlyMap<string, string>): boolean {
  return seats.length === stores.size && seats.every((s) => stores.get(s.name) === s.store);
}

/** Names of those who bring records for the cluster to begin with. */
export function bringersOf(seats: readonly Seat[]): string[] {
  return seats.filter(({ brings }) => brings === true).map(({ name }) => name);
}

/** Peer addresses of the etcd of those that begin the cluster. */
export function firstMembers({ seats, voters }: Proposal): Record<string, string> {
  const chosen: readonly Seat[] = seats.filter(({ name }) => voters.includes(name));
  return Object.fromEntries(chosen.map(({ name, etcdPeer }) => [name, etcdPeer]));
}
