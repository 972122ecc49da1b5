/** Who belongs to the cluster: forming it, joining it, coming back to it. */
export { openMembership, Membership, type MembershipOptions, type Place } from "./membership.ts";
export { MembershipError, type EtcdStart, type NodeAnswer, type Seat } from "./records.ts";
export { recoverAlone, type RecoverOptions, type Recovery } from "./recover.ts";
