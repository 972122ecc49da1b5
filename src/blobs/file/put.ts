/** Storing a blob whole in a file of its own. */
import fs from "node:fs";
import { fsync } from "../../base/fsync.ts";
import { nameFile, openUnnamed } from "../../base/unnamed-file.ts";
import { writeWholeAsync } from "../../base/whole-io.ts";
import type { Locator } from "../port.ts";
import { uploadPath, type Layout } from "./layout.ts";
import { randomName } from "./locator.ts";
import { FILE_MODE } from "./upload.ts";

const { O_RDWR, O_CREAT, O_EXCL } = fs.constants;

/** Writes a new file and makes it durable under a locator. Leaves nothing where it fails. */
export async function putFile(
  layout: Layout,
  locator: Locator,
  bytes: Uint8Array,
): Promise<Locator> {
  return (await putUnnamed(layout, locator, bytes)) ?? (await putRenamed(layout, locator, bytes));
}

/** A file that has no name before it is written; `undefined` where the system cannot do that. */
function putUnnamed(
  layout: Layout,
  locator: Locator,
  bytes: Uint8Array,
): Promise<Locator | undefined> {
  return layout.create(locator, async (path, directory) => {
    const fd = openUnnamed(directory, FILE_MODE);
    if (fd === undefined) return undefined;
    let named = false;
    try {
      await writeWholeAsync(fd, bytes, 0);
      named = nameFile(fd, path);
    } finally {
      if (!named) fs.closeSync(fd);
    }
    if (!named) return undefined;
    return async () => {
      try {
        await fsync(fd);
      } finally {
        fs.closeSync(fd);
      }
    };
  });
}

async function putRenamed(layout: Layout, locator: Locator, bytes: Uint8Array): Promise<Locator> {
  // It has the name of an upload, so that what a crash leaves is purged like one.
  const temporary = uploadPath(`put-${randomName()}${randomName()}`);
  const path = layout.path(temporary);
  try {
    const fd = fs.openSync(path, O_RDWR | O_CREAT | O_EXCL, FILE_MODE);
    try {
      await writeWholeAsync(fd, bytes, 0);
      await fsync(fd);
    } finally {
      fs.closeSync(fd);
    }
    return await layout.place(temporary, locator);
  } catch (error) {
    fs.rmSync(path, { force: true });
    throw error;
  }
}
