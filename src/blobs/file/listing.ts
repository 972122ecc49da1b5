/** Walks over the files of a store, in the order of their names. */
import fs from "node:fs";
import { ALGORITHMS } from "../../oci/digest.ts";
import type { ListedBlob } from "../port.ts";
import { codeOf } from "./errors.ts";
import type { Layout } from "./layout.ts";
import {
  BLOBS,
  digestIn,
  isOwnLocator,
  isPackId,
  isUploadId,
  packLocator,
  PACKS,
  packPlace,
  UPLOADS,
} from "./locator.ts";
import { recordsOf } from "./pack-scan.ts";

/** Our own blobs after a locator. Memory: the names of one directory, and a window of a pack. */
export async function* listBlobs(layout: Layout, after: string): AsyncIterable<ListedBlob> {
  yield* listFiles(layout, after);
  yield* listPacked(layout, after);
}

async function* listFiles(layout: Layout, after: string): AsyncIterable<ListedBlob> {
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

async function* listPacked(layout: Layout, after: string): AsyncIterable<ListedBlob> {
  for (const pack of await namesIn(layout, PACKS)) {
    // All its locators sort before its name + ";", the character after ":".
    if (!isPackId(pack) || `${PACKS}/${pack};` <= after) continue;
    const last = packPlace(after);
    const from = last?.pack === pack ? last.block : 0;
    for await (const { block, digest, size, time } of recordsOf(layout, pack, from)) {
      const locator = packLocator({ pack, block, digest });
      if (locator > after) yield { locator, digest, size, modified: time };
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
