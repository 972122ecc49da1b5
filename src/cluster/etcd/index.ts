/** The etcd that Holdfast starts beside itself: the program, the process, its members and their upkeep. */
export { EtcdUnfit, findEtcd, type EtcdBinary } from "./binary.ts";
export { etcdUrl, QUOTA_BYTES } from "./flags.ts";
export type { EtcdAddress, EtcdOptions, EtcdTlsFiles } from "./flags.ts";
export type { EtcdHealth, EtcdMemberHealth } from "./health.ts";
export { isHealthy } from "./health.ts";
export {
  addLearner,
  defragment,
  disarmNoSpace,
  listMembers,
  MembershipRefused,
  memberStatus,
  promoteMember,
  removeMember,
} from "./members.ts";
export type { EtcdApi, EtcdMember, EtcdMemberStatus, MembershipRefusal } from "./members.ts";
export { votersFor } from "./plan.ts";
export { EtcdProcess, type EtcdProcessOptions, type EtcdProcessState } from "./process.ts";
export { EtcdUpkeep, type EtcdUpkeepOptions } from "./upkeep.ts";
