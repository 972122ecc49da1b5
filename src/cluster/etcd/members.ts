/** The members of an etcd cluster: who they are, how they are, and how they come and go. */

/** One or several members of etcd, through the JSON gateway; `EtcdClient` is one. */
export interface EtcdApi {
  /** POSTs `body` to `path`, with an answer within `ms` milliseconds. Throws etcd's sentence in a message. */
  call<T>(path: string, body: object, ms: number): Promise<T>;
}

export interface EtcdMember {
  /** Decimal, 64 bits. */
  readonly id: string;
  /** The node's; empty until the member has started once. */
  readonly name: string;
  readonly peerUrls: readonly string[];
  /** Empty until it has started once. */
  readonly clientUrls: readonly string[];
  /** It is sent everything and has no vote. */
  readonly isLearner: boolean;
}

/** A member's own view. */
export interface EtcdMemberStatus {
  readonly id: string;
  readonly version: string;
  /** Of its file. */
  readonly dbBytes: number;
  /** Without what a defragmentation gives back. */
  readonly dbBytesInUse: number;
  /** Id of the leader it follows; `undefined` while it knows none. */
  readonly leader: string | undefined;
  readonly raftIndex: number;
  readonly raftAppliedIndex: number;
  readonly isLearner: boolean;
  /** Of all members: `NOSPACE`, `CORRUPT`; each once. */
  readonly alarms: readonly string[];
  /** What it has to complain of, alarms among them. */
  readonly errors: readonly string[];
}

export type MembershipRefusal =
  | "not-in-sync"
  | "too-many-learners"
  | "not-found"
  | "not-a-learner"
  | "exists"
  /** Too many voters are down or too new for the change to be safe; may pass. */
  | "unsafe";

/** etcd refuses a change of its members. */
export class MembershipRefused extends Error {
  override readonly name = "MembershipRefused";
  readonly kind: MembershipRefusal;

  constructor(kind: MembershipRefusal, message: string, options: ErrorOptions) {
    super(message, options);
    this.kind = kind;
  }
}

const REFUSALS: readonly (readonly [RegExp, MembershipRefusal])[] = [
  [/learner member which is in sync/, "not-in-sync"],
  [/too many learner members/, "too-many-learners"],
  [/member not found/, "not-found"],
  [/can only promote a learner member/, "not-a-learner"],
  [/peer URLs? already exists?|member ID already exist/i, "exists"],
  [/re-configuration failed|unhealthy cluster/, "unsafe"],
];

const CHANGE_MS = 5000;
const LOOK_MS = 1000;

/** As the member that is asked knows them; a learner does not answer. */
export async function listMembers(api: EtcdApi, ms: number = LOOK_MS): Promise<EtcdMember[]> {
  const { members = [] } = await api.call<RawMembers>("/v3/cluster/member/list", {}, ms);
  return members.map(memberOf);
}

/** Adds a member that does not vote yet; `peerUrl`: `https://host:port`. Throws `MembershipRefused`. */
export async function addLearner(api: EtcdApi, peerUrl: string): Promise<EtcdMember> {
  const body = { peerURLs: [peerUrl], isLearner: true };
  const { member } = await change<{ member: RawMember }>(api, "add", body);
  return memberOf(member);
}

/** Throws `MembershipRefused`: `not-found` also when it is gone already. */
export async function removeMember(api: EtcdApi, id: string): Promise<void> {
  await change(api, "remove", { ID: id });
}

/** Gives a learner its vote. Throws `MembershipRefused`. */
export async function promoteMember(api: EtcdApi, id: string): Promise<void> {
  await change(api, "promote", { ID: id });
}

/** `api` must ask no other member than the one that is meant. */
export async function memberStatus(api: EtcdApi, ms: number = LOOK_MS): Promise<EtcdMemberStatus> {
  const raw = await api.call<RawStatus>("/v3/maintenance/status", {}, ms);
  const { errors = [] } = raw;
  const alarms = errors.flatMap((text) => /alarm:\s*(\w+)/.exec(text)?.[1] ?? []);
  return {
    id: raw.header.member_id,
    version: raw.version ?? "",
    dbBytes: Number(raw.dbSize ?? 0),
    dbBytesInUse: Number(raw.dbSizeInUse ?? 0),
    leader: raw.leader === undefined || raw.leader === "0" ? undefined : raw.leader,
    raftIndex: Number(raw.raftIndex ?? 0),
    raftAppliedIndex: Number(raw.raftAppliedIndex ?? 0),
    isLearner: raw.isLearner ?? false,
    alarms: [...new Set(alarms)],
    errors,
  };
}

/** Gives free space in its file back; the member answers nothing meanwhile. `api` must ask no other member. */
export async function defragment(api: EtcdApi, ms: number): Promise<void> {
  await api.call("/v3/maintenance/defragment", {}, ms);
}

/** Lets writes through again after the database of this member had reached its quota. */
export async function disarmNoSpace(api: EtcdApi, id: string): Promise<void> {
  const body = { action: "DEACTIVATE", memberID: id, alarm: "NOSPACE" };
  await api.call("/v3/maintenance/alarm", body, CHANGE_MS);
}

interface RawMember {
  readonly ID: string;
  readonly name?: string;
  readonly peerURLs?: readonly string[];
  readonly clientURLs?: readonly string[];
  readonly isLearner?: boolean;
}

interface RawMembers {
  readonly members?: readonly RawMember[];
}

/** Numbers of 64 bits are decimal texts, and what has its default value is left out. */
interface RawStatus {
  readonly header: { readonly member_id: string };
  readonly version?: string;
  readonly dbSize?: string;
  readonly dbSizeInUse?: string;
  readonly leader?: string;
  readonly raftIndex?: string;
  readonly raftAppliedIndex?: string;
  readonly isLearner?: boolean;
  readonly errors?: readonly string[];
}

function memberOf({ ID, name, peerURLs, clientURLs, isLearner }: RawMember): EtcdMember {
  return {
    id: ID,
    name: name ?? "",
    peerUrls: peerURLs ?? [],
    clientUrls: clientURLs ?? [],
    isLearner: isLearner ?? false,
  };
}

async function change<T>(api: EtcdApi, verb: string, body: object): Promise<T> {
  try {
    return await api.call<T>(`/v3/cluster/member/${verb}`, body, CHANGE_MS);
  } catch (error) {
    const said = error instanceof Error ? error.message : String(error);
    const [, kind] = REFUSALS.find(([pattern]) => pattern.test(said)) ?? [];
    if (kind === undefined) throw error;
    throw new MembershipRefused(kind, said, { cause: error });
  }
}
