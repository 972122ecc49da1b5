/** What is in a backup, without a server. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../../../src/base/clock.ts";
import { openFileObjects } from "../../../src/blobs/file/objects.ts";
import { openArchive, restore } from "../../../src/journal/index.ts";
import { isJournaled } from "../../../src/meta/keys.ts";
import { pages } from "../../../src/meta/pages.ts";
import { openWriter } from "../../../src/meta/sqlite/index.ts";

/** Every record by its key. */
export async function recordsOf(backup: string): Promise<Map<string, string>> {
  const { objects } = await openArchive(Bun.file(backup), backup);
  const home = mkdtempSync(join(tmpdir(), "holdfast-records-"));
  try {
    const { store } = await restore({
      objects,
      journal: await openFileObjects(join(home, "journal")),
      open: async (above) =>
        openWriter({ path: join(home, "db"), ...(above === undefined ? {} : { above }) }),
      clock: systemClock,
    });
    const records = new Map<string, string>();
    for await (const { entries } of pages(store, ""))
      for (const { key, value } of entries) if (isJournaled(key)) records.set(key, value);
    await store.close();
    return records;
  } finally {
    rmSync(home, { recursive: true, force: true });
  }
}
