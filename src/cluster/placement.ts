/**
 * Which stores should hold a blob: rendezvous hashing (Thaler, Ravishankar 1998) of its place key with the id of each
 * store. Pure, so that all nodes that know the same nodes say the same; when a store comes or goes, only the blobs
 * that it takes or gives move.
 */
import { placeKeyOf } from "../blobs/placed.ts";
import type { Locator } from "../blobs/port.ts";
import type { NodeRecord, Space } from "./node.ts";

/** What placement wants to know of a node. Those without a store are not asked to hold anything. */
export type PlacedNode = Pick<NodeRecord, "store" | "zone" | "draining" | "space">;

export interface Placement<N> {
  /** They should hold a copy, best first: `copies` of them, or as many as there are that do not drain, or `least`. */
  readonly holders: readonly N[];
  /** The others with a store, in the order in which they step in. */
  readonly further: readonly N[];
  /**
   * The holders as they would be if all had room: a copy that one of them has stays there, or a disk that is nearly
   * full would have all of it moved to others and, being empty then, moved back.
   */
  readonly keepers: readonly N[];
}

const GIB = 2 ** 30;

/** `least` are the copies that a push waits for: where too few nodes stay, those that drain hold them too. */
export function placement<N extends PlacedNode>(
  locator: Locator,
  nodes: readonly N[],
  copies: number,
  least = 0,
): Placement<N> {
  return placementOfKey(placeKeyOf(locator), nodes, copies, least);
}

/** As `placement`, for all blobs of a place key. */
export function placementOfKey<N extends PlacedNode>(
  key: string,
  nodes: readonly N[],
  copies: number,
  least = 0,
): Placement<N> {
  const ranked = nodes
    .flatMap((node) => (node.store === undefined ? [] : [{ node, store: node.store }]))
    .map(({ node, store }) => ({ node, store, score: Bun.hash.xxHash64(`${key}\0${store}`) }))
    .sort((a, b) => compare(b.score, a.score) || compare(a.store, b.store))
    .map(({ node }) => node);
  const staying = ranked.filter(({ draining }) => !draining);
  const leaving = ranked.filter(({ draining }) => draining);
  const willing = [
    ...overZones(staying.filter((node) => !isNearlyFull(node))),
    ...overZones(staying.filter(isNearlyFull)),
  ];
  // Where all are leaving, what they hold is still theirs to hold.
  const able = willing.length > 0 ? willing.length : leaving.length;
  const count = Math.max(Math.min(copies, able), least);
  const order = [...willing, ...leaving];
  return {
    holders: order.slice(0, count),
    further: order.slice(count),
    keepers: [...overZones(staying), ...leaving].slice(0, count),
  };
}

/** How many copies a blob can have: those wanted, or one on each node that does not drain. */
export function copiesWithin(
  nodes: readonly Pick<NodeRecord, "draining">[],
  copies: number,
): number {
  return Math.max(1, Math.min(copies, nodes.filter(({ draining }) => !draining).length));
}

/**
 * How many copies of a blob a push has to wait for: `durable`, by default a majority of the copies, as far as there are
 * so many nodes. Those that drain count, and take copies where too few others are left: a drain costs no durability.
 */
export function durableWithin(
  nodes: readonly unknown[],
  copies: number,
  durable: number | undefined,
): number {
  const possible = Math.max(1, Math.min(copies, nodes.length));
  return Math.min(durable ?? Math.floor(possible / 2) + 1, possible);
}

/** Whether it takes copies only where nobody else can, as it says itself: all nodes have to agree. */
export function isNearlyFull({ space }: Pick<NodeRecord, "space">): boolean {
  return space !== undefined && (space.nearlyFull ?? fillsUp(space, false));
}

/**
 * Whether a store is nearly full: from less than a twentieth, or than a gibibyte, free, until twice as much is. Without
 * this distance it would take copies again for each few that it gives away.
 */
export function fillsUp({ free, total }: Omit<Space, "nearlyFull">, was: boolean): boolean {
  const least = Math.max(total / 20, GIB);
  return free < (was ? 2 * least : least);
}

/** The best of each zone, then the second best of each, and so on. */
function overZones<N extends PlacedNode>(ranked: readonly N[]): N[] {
  const rounds: N[][] = [];
  const taken = new Map<string, number>();
  for (const node of ranked) {
    const round = node.zone === undefined ? 0 : (taken.get(node.zone) ?? 0);
    if (node.zone !== undefined) taken.set(node.zone, round + 1);
    (rounds[round] ??= []).push(node);
  }
  return rounds.flat();
}

function compare<T extends bigint | string>(a: T, b: T): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
