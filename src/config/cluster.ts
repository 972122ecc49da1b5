import type { EtcdConfig } from "./database.ts";
import type { Milliseconds } from "./duration.ts";
import type { ListenAddress } from "./listen.ts";
import type { Secret } from "./secret.ts";
import type { Bytes } from "./size.ts";

/** Several machines with nothing but disks as one registry. */
export interface ClusterConfig {
  /** This node's name; matches `NODE_NAME`. */
  readonly node: string;
  /**
   * Name → peer address `host:port` of all nodes that form the cluster, this one among them; empty for a node that comes
   * later, with `join`.
   */
  readonly members: Readonly<Record<string, string>>;
  /** Peer addresses `host:port` of nodes that are asked to be let in; exactly one of `members` and `join` is empty. */
  readonly join: readonly string[];
  /** `host:port` where the others reach this node's peer port. */
  readonly address: string;
  /** Where the peer port listens; its port is never 0. */
  readonly listen: ListenAddress;
  /** The same on every node; at least 32 bytes. */
  readonly secret: Secret;
  /** Stores that should hold each blob, 1–7; fewer where there are fewer nodes. */
  readonly copies: number;
  /** Copies that are fsynced before a push is answered 201; 1–`copies`. */
  readonly durableCopies: number;
  /** Failure domain; `undefined`: the node is one of its own. */
  readonly zone: string | undefined;
  /** A node that has been away for so long is made up for by the others. */
  readonly downAfter: Milliseconds;
  readonly etcd: SupervisedEtcdConfig | EtcdConfig;
  readonly healing: {
    /** Most that this node fetches in a second; 0: no limit. */
    readonly bytesPerSecond: Bytes;
  };
}

/** The etcd that Holdfast starts on each node. */
export interface SupervisedEtcdConfig {
  readonly kind: "supervised";
  /** Where the members of etcd talk to each other, on the interfaces of `listen`. */
  readonly peerPort: number;
  readonly clientPort: number;
  /** Absolute path of the program; `undefined`: `etcd` on the PATH. */
  readonly binary: string | undefined;
  readonly heartbeat: Milliseconds;
  /** At least 5 × `heartbeat`. */
  readonly electionTimeout: Milliseconds;
}
