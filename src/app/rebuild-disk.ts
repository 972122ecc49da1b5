/** The metadata of the data directory, rebuilt from a journal, or from a backup. */
import { existsSync, renameSync, rmSync } from "node:fs";
import { dirname } from "node:path";
import { systemClock } from "../base/clock.ts";
import type { ObjectStore } from "../blobs/objects.ts";
import type { Config } from "../config/config.ts";
import { restore, type Restored, type RestoreOptions } from "../journal/index.ts";
import { openWriter } from "../meta/sqlite/index.ts";
import { prepareSchema } from "../registry/schema.ts";
import { metadataPath } from "./stores.ts";

export interface RebuiltDisk extends Omit<Restored, "store"> {
  /** Where the metadata that was there has been moved: it may hold what the journal does not. */
  readonly kept: string | undefined;
}

export interface RebuildDiskOptions extends Pick<RestoreOptions, "at" | "progress" | "signal"> {
  /** What it is rebuilt from; default the journal. */
  readonly backup?: ObjectStore | undefined;
}

/** `objects` have the journal. The caller holds the data directory's lock. A journal that is of no use leaves everything as it was. */
export async function rebuildDisk(
  config: Config,
  objects: ObjectStore,
  { backup = objects, ...options }: RebuildDiskOptions,
): Promise<RebuiltDisk> {
  const path = metadataPath(config);
  const directory = dirname(path);
  const kept = existsSync(path) ? `${directory}.before-rebuild-${Date.now()}` : undefined;
  if (kept !== undefined) renameSync(directory, kept);
  try {
    const { store, ...restored } = await restore({
      ...options,
      objects: backup,
      journal: objects,
      // Little history: only what follows the last snapshot is ever read again.
      open: async (above) =>
        openWriter({ path, historyMax: 10, ...(above === undefined ? {} : { above }) }),
      clock: systemClock,
    });
    try {
      await prepareSchema(store, systemClock);
    } finally {
      await store.close();
    }
    return { ...restored, kept };
  } catch (error) {
    if (kept === undefined) rmSync(directory, { recursive: true, force: true });
    else {
      if (existsSync(directory)) renameSync(directory, `${directory}.half-rebuilt-${Date.now()}`);
      renameSync(kept, directory);
    }
    throw error;
  }
}
