/** What the nodes of a cluster know of each other. */

/** `node!NAME`: written by the node itself at each start, and for all of them when the cluster is formed. */
export interface NodeRecord {
  readonly name: string;
  /** Where the others reach its peer port, `host:port`. */
  readonly address: string;
  /** Minted in its data directory, so an emptied disk is another store; absent until the node has started once. */
  readonly store?: string;
  /** The parent process that speaks for it (`Presence`); absent until the node has started once. */
  readonly run?: string;
  /** Failure domain; nodes without one are each a domain of their own. */
  readonly zone?: string;
  /** Version of the program. */
  readonly version?: string;
  /** It takes no new copies, and the others take over those it has. */
  readonly draining?: true;
  /** Of its store, as of its last report. */
  readonly space?: Space;
}

export interface Space {
  /** Bytes. */
  readonly free: number;
  readonly total: number;
  /** It takes copies only where nobody else can; left out by earlier versions. */
  readonly nearlyFull?: boolean;
}

/** A node as this process sees it at present. */
export interface NodeState extends NodeRecord {
  /** Its parent process beats, and it answered when it was last asked. */
  readonly isLive: boolean;
  /** `performance.now()` since when it has not been live; `undefined` while it is. */
  readonly downSince: number | undefined;
}

/** The nodes, kept current; this process's own among them. */
export interface Nodes {
  /** The name of the node that this process belongs to. */
  readonly self: string;
  /** In the order of their names. */
  all(): readonly NodeState[];
  /** A request to this node failed: until it beats anew or a second has passed, it is not asked first. */
  failed(name: string): void;
  /** Calls `listener` after nodes came, went, changed or died. Returns what forgets it. */
  onChange(listener: () => void): () => void;
}
