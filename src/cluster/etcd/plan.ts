/** What upkeep decides, as pure functions. */
import { isHealthy, type EtcdHealth } from "./health.ts";
import type { EtcdMember, EtcdMemberStatus } from "./members.ts";

/** Voters for so many nodes: an odd number, since an even one bears no more losses; more than 5 only cost time. */
export function votersFor(nodes: number): 1 | 3 | 5 {
  if (nodes >= 5) return 5;
  return nodes >= 3 ? 3 : 1;
}

/** The learners that may vote once they are in sync, oldest id first: as many as there are seats. */
export function candidates(members: readonly EtcdMember[], voters: number): EtcdMember[] {
  const seats = voters - members.filter(({ isLearner }) => !isLearner).length;
  return members.filter(({ isLearner }) => isLearner).slice(0, Math.max(0, seats));
}

const FREE_MIN = 64 * 2 ** 20;
const FREE_SHARE = 0.5;
const TIGHT = 0.8;
const TIGHT_FREE_SHARE = 0.1;

/** Whether the file is more than half empty and that is worth it; near the quota, every tenth counts. */
export function isWorthDefragmenting(
  { dbBytes, dbBytesInUse }: Pick<EtcdMemberStatus, "dbBytes" | "dbBytesInUse">,
  quotaBytes: number,
): boolean {
  const free = dbBytes - dbBytesInUse;
  if (dbBytes > TIGHT * quotaBytes) return free > TIGHT_FREE_SHARE * dbBytes;
  return free > FREE_MIN && free > FREE_SHARE * dbBytes;
}

/** Whether every member answers and has room again after its quota was reached. */
export function hasRoomAgain({ members }: EtcdHealth, quotaBytes: number): boolean {
  return members.every(({ status }) => status !== undefined && status.dbBytes < TIGHT * quotaBytes);
}

const HOUR_MS = 3_600_000;
/** While the quota is reached, nothing can be written, and nobody is in the way. */
const URGENT_MS = 10_000;

/**
 * The turn for this member to defragment, or `undefined` while it is another's, or a member is unwell. The hour is
 * shared out, so no two do it at once and none does it twice: a turn is used once. `now`: milliseconds since the epoch.
 */
export function defragmentationTurn(health: EtcdHealth, now: number): number | undefined {
  const { members, own, leader, alarms } = health;
  if (own === undefined || leader === undefined) return undefined;
  if (!members.every((member) => isHealthy(member, leader))) return undefined;
  const order = members.map(({ id }) => id).toSorted();
  const turnMs = alarms.includes("NOSPACE") ? URGENT_MS : HOUR_MS / order.length;
  const turn = Math.floor(now / turnMs);
  return turn % order.length === order.indexOf(own.id) ? turn : undefined;
}
