/**
 * The state of a cluster as one of its nodes sees it: what `GET /cluster/status` on the admin socket answers and
 * `holdfast status --json` prints. `null` is "not known". Times are milliseconds, sizes bytes.
 */
export interface ClusterStatus {
  /** The node that was asked. */
  readonly node: string;
  /** When it answered, milliseconds since the epoch. */
  readonly time: number;
  /** As configured there. */
  readonly copies: number;
  readonly durableCopies: number;
  readonly quorum: QuorumStatus;
  /** Why nodes that live do not answer the one that was asked, a sentence each. */
  readonly obstacles?: readonly string[];
  /** In the order of their names. */
  readonly nodes: readonly NodeStatus[];
  readonly healing: HealingStatus;
}

/** The etcd that holds the metadata. */
export interface QuorumStatus {
  /** A majority answers, so that pushes are possible. */
  readonly reached: boolean;
  /** Whether Holdfast runs it; an etcd of somebody else has no voters that we know of. */
  readonly etcd: "supervised" | "external";
  /** Members that vote, and how many of them answer. */
  readonly voters: number | null;
  readonly votersLive: number | null;
  /** The node whose etcd leads. */
  readonly leader: string | null;
}

export type EtcdRole = "leader" | "voter" | "learner" | "none";

export interface NodeStatus {
  readonly name: string;
  /** Peer address, `host:port`. */
  readonly address: string;
  readonly zone: string | null;
  readonly live: boolean;
  /** How long it has not been live; 0 while it is. */
  readonly downMs: number | null;
  /** It takes no new copies, and the others take over those it has. */
  readonly draining: boolean;
  /** Of a node that drains: blobs that the others have not wholly taken over yet, 0 when it may go; else `null`. */
  readonly stillNeeded: number | null;
  /** Id of its store, minted in its data directory; `null` until the node has started once. */
  readonly store: string | null;
  readonly version: string | null;
  readonly disk: { readonly free: number; readonly total: number } | null;
  readonly etcd: EtcdRole | null;
  /** What its store still lacks; `null` for a node that cannot be asked. */
  readonly healing: NodeHealing | null;
}

export interface NodeHealing {
  /** Blobs that its store should hold and does not; `null` until it has looked through all of them once. */
  readonly missingBlobs: number | null;
  readonly missingBytes: number | null;
  /** Fetched in the last seconds, per second. */
  readonly bytesPerSecond: number;
  readonly repairs: readonly RunningRepair[];
}

/** A copy on its way. */
export interface RunningRepair {
  /** The blob's digest. */
  readonly digest: string;
  /** The node that gives it. */
  readonly from: string;
  readonly doneBytes: number;
  readonly totalBytes: number;
}

/** Over all nodes. */
export interface HealingStatus {
  /** Blobs with fewer copies than they should have. */
  readonly underReplicated: number | null;
  /** Bytes still to be copied for them. */
  readonly missingBytes: number | null;
  /** Until `underReplicated` is 0, at the present rate; `null` also where nothing is being copied. */
  readonly timeToZeroMs: number | null;
}

/** What can be asked of a node: `POST /cluster/nodes/NAME/<action>`. */
export const nodeActions = ["drain", "undrain", "remove"] as const;
export type NodeAction = (typeof nodeActions)[number];

/** The body of such a request. */
export interface NodeActionRequest {
  /** `remove`: also where it costs copies or the majority. */
  readonly force: boolean;
}

/** Status 200. With any other, `{"error": "…"}` says in one sentence without its dot what is in the way, and what to do. */
export interface NodeActionAnswer {
  /** A sentence without its dot, for the operator: what was done, and what follows. */
  readonly message: string;
}
