/** How the etcd of a cluster is, from what its members say of themselves. */
import type { EtcdMember, EtcdMemberStatus } from "./members.ts";

export interface EtcdMemberHealth extends EtcdMember {
  /** `undefined`: it gave no answer. */
  readonly status: EtcdMemberStatus | undefined;
}

export interface EtcdHealth {
  readonly members: readonly EtcdMemberHealth[];
  /** The member of this node; `undefined` on a node without one. */
  readonly own: EtcdMemberHealth | undefined;
  /** Id of the leader that a majority of the voters follow: there is quorum. */
  readonly leader: string | undefined;
  /** Of any member: `NOSPACE`, `CORRUPT`. */
  readonly alarms: readonly string[];
}

/** Before anything is known. */
export const UNKNOWN_HEALTH: EtcdHealth = {
  members: [],
  own: undefined,
  leader: undefined,
  alarms: [],
};

/** `name`: this node's. */
export function healthOf(members: readonly EtcdMemberHealth[], name: string): EtcdHealth {
  const voters = members.filter(({ isLearner }) => !isLearner);
  const followed = new Map<string, number>();
  for (const { status } of voters)
    if (status?.leader !== undefined)
      followed.set(status.leader, (followed.get(status.leader) ?? 0) + 1);
  const [leader] = [...followed].find(([, count]) => count > voters.length / 2) ?? [];
  return {
    members,
    own: members.find((member) => member.name === name),
    leader,
    alarms: [...new Set(members.flatMap(({ status }) => status?.alarms ?? []))],
  };
}

/** It answers, follows the leader, and its data are sound. */
export function isHealthy({ status }: EtcdMemberHealth, leader: string | undefined): boolean {
  return (
    status?.leader !== undefined && status.leader === leader && !status.alarms.includes("CORRUPT")
  );
}
