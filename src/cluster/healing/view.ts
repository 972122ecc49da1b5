/** What healing rests upon: which stores there are, and which of them count. */
import type { NodeState, Nodes } from "../node.ts";
import { copiesWithin, durableWithin, isNearlyFull } from "../placement.ts";

/** A node that failed a request is not asked for a second; only one that is away for longer is down. */
export const FLICKER_MS = 2000;

export interface ViewOptions {
  readonly nodes: Pick<Nodes, "self" | "all">;
  /** Copies that each blob should have. */
  readonly copies: number;
  /** Of these, how many a push waits for; default: a majority. */
  readonly durable?: number | undefined;
  /** A node that has been down for so long holds no place any more. */
  readonly downAfterMs: number;
  /** Monotonic milliseconds, as in `NodeState.downSince`; default `performance.now`. */
  readonly now?: () => number;
}

export interface View {
  /** This process's node; absent until it is written down. */
  readonly self: NodeState | undefined;
  /** The nodes whose stores are considered by placement, those that are down for a while among them. */
  readonly placed: readonly NodeState[];
  /** Those of them that can be asked, this node among them. */
  readonly live: ReadonlySet<NodeState>;
  /** Copies that a push waits for. */
  readonly durable: number;
  /** Copies that are enough: as many as there are nodes to hold them. */
  readonly wanted: number;
  /** Spells all of it: numbers of another basis say nothing about now. */
  readonly basis: string;
}

export function viewOf({ nodes, copies, durable, downAfterMs, now }: ViewOptions): View {
  const at = now?.() ?? performance.now();
  const all = nodes.all();
  const awayFor = ({ downSince }: NodeState) => (downSince === undefined ? 0 : at - downSince);
  const placed = all.filter((node) => node.store !== undefined && awayFor(node) < downAfterMs);
  const live = new Set(placed.filter((node) => awayFor(node) < FLICKER_MS));
  const facts = placed.map((node) => [
    node.store,
    node.zone ?? null,
    node.draining ?? false,
    isNearlyFull(node),
    live.has(node),
  ]);
  const acknowledged = durableWithin(all, copies, durable);
  const wanted = Math.max(copiesWithin(all, copies), acknowledged);
  return {
    self: placed.find(({ name }) => name === nodes.self),
    placed,
    live,
    durable: acknowledged,
    wanted,
    basis: Bun.hash(JSON.stringify([wanted, facts])).toString(36),
  };
}
