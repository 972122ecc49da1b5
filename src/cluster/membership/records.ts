/** What nodes write down and tell each other about who belongs to the cluster. */
import { OperatorError } from "../../base/operator-error.ts";
import * as z from "zod";

const hex: z.ZodString = z.string().regex(/^[0-9a-f]{16,64}$/);

/** A node's place in a cluster. */
export interface Seat {
  readonly name: string;
  /** Of its peer port, `host:port`. */
  readonly address: string;
  /** Minted in its data directory: an emptied disk is another store. */
  readonly store: string;
  /** Where its etcd takes what other members send, `host:port`. */
  readonly etcdPeer: string;
  /** Where its etcd takes clients, `host:port`. */
  readonly etcdClient: string;
  /** It has records that the cluster is to begin with: until they are in etcd nobody serves. */
  readonly brings?: true | undefined;
}

export const seatSchema: z.ZodType<Seat> = z.object({
  name: z.string(),
  address: z.string(),
  store: hex,
  etcdPeer: z.string(),
  etcdClient: z.string(),
  brings: z.literal(true).optional(),
});

/** A cluster that is about to be formed of exactly these stores. */
export interface Proposal {
  /** Another for each proposal; etcd's members know each other by it (`--initial-cluster-token`). */
  readonly id: string;
  /** The id that the cluster will have; a proposal in place of another keeps it. */
  readonly cluster: string;
  /** In the order of their names. */
  readonly seats: readonly Seat[];
  /** Names of those whose etcd begins the cluster; the others join it then. */
  readonly voters: readonly string[];
}

export const proposalSchema: z.ZodType<Proposal> = z.object({
  id: hex,
  cluster: hex,
  seats: z.array(seatSchema),
  voters: z.array(z.string()),
});

export type Phase = "empty" | "forming" | "member";

/** How a member's etcd is to be started as long as it has no data; with data it knows by itself. */
export interface EtcdStart {
  /** `--initial-cluster-token`. */
  readonly clusterId: string;
  readonly state: "new" | "existing";
  /** Peer address `host:port` of every member by its name. */
  readonly members: Readonly<Record<string, string>>;
  /** It has run: if its data are missing now, they are lost, and it must not begin anew under its old name. */
  readonly hasRun: boolean;
}

const etcdStartSchema: z.ZodType<EtcdStart> = z.object({
  clusterId: z.string(),
  state: z.enum(["new", "existing"]),
  members: z.record(z.string(), z.string()),
  hasRun: z.boolean(),
});

/** `<data>/cluster.json`: who this node is, and what it has agreed to. */
export interface IdentityRecord {
  readonly format: 1;
  readonly node: string;
  readonly store: string;
  readonly phase: Phase;
  /** Absent while the phase is `empty`. */
  readonly cluster?: string | undefined;
  /** Agreed to (`forming`), or the one that this member's cluster began with. */
  readonly proposal?: Proposal | undefined;
  /** Absent for a member without an etcd of its own, and before the phase is `member`. */
  readonly etcd?: EtcdStart | undefined;
  /** The nodes of the cluster as last known, this one included. */
  readonly nodes: readonly Seat[];
  /** Ids of clusters that this one continues without their majority: their other members are not to come back. */
  readonly supersedes?: readonly string[] | undefined;
}

export const identitySchema: z.ZodType<IdentityRecord> = z.object({
  format: z.literal(1),
  node: z.string(),
  store: hex,
  phase: z.enum(["empty", "forming", "member"]),
  cluster: hex.optional(),
  proposal: proposalSchema.optional(),
  etcd: etcdStartSchema.optional(),
  nodes: z.array(seatSchema),
  supersedes: z.array(hex).optional(),
});

/** The answer to `GET /v1/state`. */
export interface NodeAnswer {
  readonly node: string;
  readonly store: string;
  readonly phase: Phase;
  readonly cluster?: string | undefined;
  readonly proposal?: Proposal | undefined;
  /** Where it is reached, by its own account. */
  readonly seat: Seat;
  /** Its `cluster.members`, addresses by name; absent where it is told to join. */
  readonly seeds?: Readonly<Record<string, string>> | undefined;
  readonly nodes: readonly Seat[];
  readonly supersedes?: readonly string[] | undefined;
  /** Names the process that answers. */
  readonly run?: string | undefined;
  /** Of the program. */
  readonly version: string;
  /** Milliseconds since the epoch, by its clock. */
  readonly time: number;
}

export const answerSchema: z.ZodType<NodeAnswer> = z.object({
  node: z.string(),
  store: hex,
  phase: z.enum(["empty", "forming", "member"]),
  cluster: hex.optional(),
  proposal: proposalSchema.optional(),
  seat: seatSchema,
  seeds: z.record(z.string(), z.string()).optional(),
  nodes: z.array(seatSchema),
  supersedes: z.array(hex).optional(),
  run: z.string().optional(),
  version: z.string(),
  time: z.number(),
});

/** The answer to `POST /v1/join`. */
export interface Admission {
  readonly cluster: string;
  /** Peer addresses of etcd's members by name. Absent where there are as many as are of use: the node is a client. */
  readonly etcdMembers?: Readonly<Record<string, string>> | undefined;
  readonly nodes: readonly Seat[];
}

export const admissionSchema: z.ZodType<Admission> = z.object({
  cluster: hex,
  etcdMembers: z.record(z.string(), z.string()).optional(),
  nodes: z.array(seatSchema),
});

/** Why there is no answer, of a handler here or of the peer port; a sentence without a full stop. */
export const refusalSchema: z.ZodType<{ readonly error: string }> = z.object({ error: z.string() });

/** The node cannot become, or stay, a member. The message is one sentence: what is in the way, and the remedy. */
export class MembershipError extends OperatorError {
  override readonly name = "MembershipError";
}
