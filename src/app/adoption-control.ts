/** Asking about an adoption and ending it: what the admin socket and the command line have in common. */
import { restOfDistributionLayout } from "../blobs/file/distribution-layout.ts";
import type { AdoptionStatus } from "../registry/adopt-records.ts";
import type { FinishEvent } from "../registry/adopt-finish.ts";
import type { Registry } from "../registry/registry.ts";
import { findForeignWriters, refusalOf } from "./adoption-writers.ts";

const STAYS =
  "in a bucket there is nothing to finish: the blobs that distribution wrote are used where they lie, for a second name would be a copy of each";

export interface FinishRequest {
  readonly dryRun: boolean;
  readonly dropDamaged: boolean;
}

export interface AdoptionControl {
  /** `undefined` where nothing was ever taken over. */
  status(): Promise<AdoptionStatus | undefined>;
  /** Ends early, with an event that says so, when `signal` aborts. One at a time. */
  finish(request: FinishRequest, signal: AbortSignal): AsyncIterable<FinishEvent>;
}

/** `directory`: of the old registry's files; without, they are in a bucket. `graceMs`: how long requests under way have to open what they read. */
export function adoptionControl(
  registry: Registry,
  directory: string | undefined,
  graceMs: number,
): AdoptionControl {
  let busy = false;
  return {
    async status() {
      const status = await registry.adoptionStatus();
      return status && { ...status, blobs: await registry.countForeign() };
    },
    async *finish(request, signal) {
      if (directory === undefined) {
        yield { type: "end", removed: false, reason: STAYS };
        return;
      }
      const writers = findForeignWriters(directory);
      const reason = busy
        ? "another `holdfast adopt --finish` is at work"
        : writers.length > 0
          ? refusalOf(directory, writers)
          : undefined;
      if (reason !== undefined) {
        yield { type: "end", removed: false, reason };
        return;
      }
      busy = true;
      try {
        const layout = restOfDistributionLayout(directory);
        yield* registry.finishAdoption(layout, { ...request, signal, graceMs });
      } finally {
        busy = false;
      }
    },
  };
}
