/** The stores of the other nodes: which of them a blob concerns, and requests to them. */
import { placeKey, PLACE_KEYS } from "../../blobs/placed.ts";
import type { NodeState, Nodes } from "../node.ts";
import { PeerUnavailable, type PeerRequest, type Peers } from "../peer/port.ts";
import { whileLive } from "../while-live.ts";
import { copiesWithin, durableWithin, placementOfKey, type Placement } from "../placement.ts";

export interface OthersOptions {
  readonly nodes: Nodes;
  readonly peers: Peers;
  /** Stores that should hold each blob, where there are so many. */
  readonly copies: number;
  /** Of these, how many must hold it durably before a push is answered. Default: a majority. */
  readonly durable?: number | undefined;
}

/** Keys tried for one that places a blob here; past them this node only takes what the others cannot. */
const KEYS_TRIED = 64;
/** Who has so long to answer is looked at meanwhile. */
const LONG_MS = 10_000;
/** Longest text of a refusal that is passed on. */
const REASON_MAX = 300;

/** Where the copies of a new blob go, beside the own one. */
export interface Targets {
  /** At once. */
  readonly first: readonly NodeState[];
  /** In turn, for those that fail; nodes that are taken for dead come last. */
  readonly further: readonly NodeState[];
  /** How many of them must hold the blob. */
  readonly wanted: number;
}

export class Others {
  readonly #nodes: Nodes;
  readonly #peers: Peers;
  readonly #copies: number;
  readonly #durable: number | undefined;

  constructor({ nodes, peers, copies, durable }: OthersOptions) {
    this.#nodes = nodes;
    this.#peers = peers;
    this.#copies = copies;
    this.#durable = durable;
  }

  get self(): string {
    return this.#nodes.self;
  }

  /** All other nodes that have ever had a store. */
  all(): readonly NodeState[] {
    return this.#nodes.all().filter((node) => this.#isOther(node));
  }

  /** The same, best to ask for a blob first. */
  toRead(key: string): readonly NodeState[] {
    const { holders, further } = this.#placement(key);
    const others = [...holders, ...further].filter((node) => this.#isOther(node));
    return [...others.filter(({ isLive }) => isLive), ...others.filter(({ isLive }) => !isLive)];
  }

  toWrite(key: string): Targets {
    const { holders, further } = this.#placement(key);
    const wanted = this.durable() - 1;
    const live = holders.filter((node) => this.#isOther(node) && node.isLive);
    const standing = further.filter((node) => this.#isOther(node) && node.isLive);
    const missing = Math.max(0, wanted - live.length);
    const dead = this.all().filter(({ isLive }) => !isLive);
    return {
      first: [...live, ...standing.slice(0, missing)],
      further: [...standing.slice(missing), ...dead],
      wanted,
    };
  }

  /** How many copies, the own one included, a push has to wait for. */
  durable(): number {
    return durableWithin(this.#nodes.all(), this.#copies, this.#durable);
  }

  /** How many copies there should be. */
  copies(): number {
    return Math.max(copiesWithin(this.#nodes.all(), this.#copies), this.durable());
  }

  /** Whether this node should hold blobs of this key. */
  isHere(key: string): boolean {
    return this.#placement(key).holders.some(({ name }) => name === this.self);
  }

  /** A place key for a new blob, the same for the same seed and nodes: one that places it here, if any does. */
  keyFor(seed: string): string {
    const keys = Array.from({ length: KEYS_TRIED }, (_, index) => () => keyOf(`${seed} ${index}`));
    const found = keys.find((make) => this.isHere(make()));
    return (found ?? (() => keyOf(seed)))();
  }

  /** Throws `PeerUnavailable`, having noted that the node did not answer, or the signal's reason. */
  async fetch(node: NodeState, path: string, request: PeerRequest): Promise<Response> {
    const ask = (signal = request.signal) =>
      this.#peers.fetch(node.address, path, { ...request, ...(signal ? { signal } : {}) });
    try {
      // One that is taken for dead already is asked nevertheless: it may be the only one.
      if (request.timeoutMs < LONG_MS || !node.isLive) return await ask();
      return await whileLive(this.#nodes, node.name, request.signal, ask);
    } catch (error) {
      if (error instanceof PeerUnavailable) this.#nodes.failed(node.name);
      throw error;
    }
  }

  /** The same, for an answer that says no more than that it was done. Throws for any other, with its reason. */
  async order(node: NodeState, path: string, request: PeerRequest): Promise<void> {
    await refused(await this.fetch(node, path, request));
  }

  #placement(key: string): Placement<NodeState> {
    return placementOfKey(key, this.#nodes.all(), this.#copies, this.durable());
  }

  #isOther({ name, store }: NodeState): boolean {
    return name !== this.self && store !== undefined;
  }
}

/** Reads an answer to its end, so that its connection can serve again. Throws with the reason of a refusal. */
export async function refused(response: Response): Promise<void> {
  const text = await response.text();
  if (!response.ok) throw new Error(`it answered ${response.status} ${text.slice(0, REASON_MAX)}`);
}

function keyOf(seed: string): string {
  return placeKey(Number(Bun.hash.xxHash64(seed) % BigInt(PLACE_KEYS)));
}
