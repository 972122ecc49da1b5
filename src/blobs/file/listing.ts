/** Walks over the files of a store, in the order of their names. */
import fs from "node:fs";
import { ALGORITHMS } from "../../oci/digest.ts";
import type { ListedBlob } from "../port.ts";
import { codeOf } from "./errors.ts";
import type { Layout } from "./layout.ts";
import { BLOBS, digestIn, isOwnLocator, isUploadId, UPLOADS } from "./locator.ts";

/** Our own blobs after a locator. Memory: the names of one fan-out directory. */
export async function* listBlobs(layout: Layout, after: string): AsyncIterable<ListedBlob> {
  for (const algorithm of ALGORITHMS) {
    const top = `${BLOBS}/${algorithm}`;
    for (const name of await namesIn(layout, top)) {
      const directory = `${top}/${name}`;
      // Everything in it sorts before `directory` + "0", the character after "/".
      if (`${directory}0` <= after) continue;
      for (const file of await namesIn(layout, directory)) {
        const locator = `${directory}/${file}`;
        const digest = digestIn(locator);
        if (locator <= after || digest === undefined || !isOwnLocator(locator)) continue;
        const stats = await regularFile(layout, locator);
        if (stats) yield { locator, digest, size: stats.size, modified: stats.mtimeMs };
      }
    }
  }
}

export async function* listUploads(
  layout: Layout,
): AsyncIterable<{ readonly id: string; readonly modified: number }> {
  for (const id of await namesIn(layout, UPLOADS)) {
    if (!isUploadId(id)) continue;
    const stats = await regularFile(layout, `${UPLOADS}/${id}`);
    if (stats) yield { id, modified: stats.mtimeMs };
  }
}

async function namesIn(layout: Layout, directory: string): Promise<string[]> {
  try {
    return (await fs.promises.readdir(layout.path(directory))).sort();
  } catch (error) {
    if (codeOf(error) === "ENOENT" || codeOf(error) === "ENOTDIR") return [];
    throw error;
  }
}

async function regularFile(layout: Layout, relative: string): Promise<fs.Stats | undefined> {
  try {
    const stats = await fs.promises.lstat(layout.path(relative));
    return stats.isFile() ? stats : undefined;
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw error;
  }
}
