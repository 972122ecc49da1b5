/** Keeping as many copies as there should be. */
export { startHealer, type Healer, type HealerOptions, type HealingTimes } from "./healer.ts";
export { clusterHealing, type ClusterHealing, type HealingRecord, type Repair } from "./numbers.ts";
export type { ViewOptions } from "./view.ts";
export { startScrub, type ScrubOptions } from "./scrub.ts";
