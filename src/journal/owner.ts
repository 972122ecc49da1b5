/** Whose journal it is. */
import type { ObjectStore } from "../blobs/objects.ts";
import { readSegment } from "./basis.ts";
import { takeInventory } from "./inventory.ts";
import { readManifest } from "./snapshot.ts";

/** The installation that wrote the newest of it that can be read; `undefined` where there is nothing. */
export async function journalInstallation(objects: ObjectStore): Promise<string | undefined> {
  const { snapshots, segments } = await takeInventory(objects);
  for (const { name } of snapshots) {
    const manifest = await readManifest(objects, name);
    if (manifest !== undefined) return manifest.installation;
  }
  for (const segment of [...segments].sort((a, b) => b.last - a.last)) {
    const decoded = await readSegment(objects, segment);
    if (decoded !== undefined) return decoded.header.installation;
  }
  return undefined;
}
