/** Taking over another registry's files for good: a second name for each blob, then the end of the first ones. */
import fs from "node:fs";
import { dirname, join } from "node:path";
import { fsync, makeDirectory, syncDirectory } from "../../base/fsync.ts";
import { algorithmOf, encodedOf, type Digest } from "../../oci/digest.ts";
import type { Locator, StoredBlob } from "../port.ts";
import { codeOf } from "./errors.ts";
import { BLOBS, randomName, UPLOADS } from "./locator.ts";

/** Stands where an upload's locator has its random part: a blob is taken over once, under a name that a repetition finds. */
const SUFFIX = "takeover";
/** What the file system or its rights refuse as a hard link can still be copied. */
const COPIED: ReadonlySet<string | undefined> = new Set([
  "EXDEV",
  "EPERM",
  "EMLINK",
  "ENOTSUP",
  "EOPNOTSUPP",
]);
/** The old tree on its way out: whole under its own name, or gone from there. */
const REMOVED = "docker.removed-by-holdfast";

/** Gives the plain file at `from` (relative to `root`) a name among our blobs, durably. */
export async function claimFile(root: string, from: string, digest: Digest): Promise<StoredBlob> {
  const hex = encodedOf(digest);
  const locator = `${BLOBS}/${algorithmOf(digest)}/${hex.slice(0, 2)}/${hex}.${SUFFIX}` as Locator;
  const to = join(root, locator);
  await makeDirectory(dirname(to));
  try {
    fs.linkSync(join(root, from), to);
  } catch (error) {
    // What an earlier call, cut short, has linked or copied whole is what this one wants.
    if (COPIED.has(codeOf(error))) await copy(root, join(root, from), to);
    else if (codeOf(error) !== "EEXIST") throw error;
  }
  const size = await makeDurable(to);
  await syncDirectory(dirname(to));
  return { locator, size };
}

async function copy(root: string, from: string, to: string): Promise<void> {
  // It has the name of an upload, so that what a crash leaves is purged like one.
  const temporary = join(root, UPLOADS, `copy-${randomName()}${randomName()}`);
  try {
    await fs.promises.copyFile(from, temporary, fs.constants.COPYFILE_EXCL);
    await makeDurable(temporary);
    fs.renameSync(temporary, to);
  } catch (error) {
    fs.rmSync(temporary, { force: true });
    throw error;
  }
}

/** The file's size. A symbolic link is refused: linkSync would have given it a second name as well. */
async function makeDurable(path: string): Promise<number> {
  const fd = fs.openSync(path, fs.constants.O_RDONLY | fs.constants.O_NOFOLLOW);
  try {
    await fsync(fd);
    return fs.fstatSync(fd).size;
  } finally {
    fs.closeSync(fd);
  }
}

/**
 * Removes the tree at `top` (relative to `root`) and the directories above it that are empty then. It first leaves
 * its place in one step, so that nobody finds half of it there.
 */
export async function removeTree(root: string, top: string): Promise<void> {
  const [place, out] = [join(root, top), join(root, REMOVED)];
  await fs.promises.rm(out, { recursive: true, force: true });
  try {
    fs.renameSync(place, out);
    await syncDirectory(dirname(place));
  } catch (error) {
    if (codeOf(error) !== "ENOENT" && codeOf(error) !== "EXDEV" && codeOf(error) !== "EBUSY")
      throw error;
    await fs.promises.rm(place, { recursive: true, force: true });
  }
  await fs.promises.rm(out, { recursive: true, force: true });
  for (let path = dirname(place); path !== root; path = dirname(path)) {
    try {
      fs.rmdirSync(path);
    } catch (error) {
      const code = codeOf(error);
      if (code === "ENOENT") continue;
      if (code === "ENOTEMPTY" || code === "EBUSY" || code === "EEXIST") break;
      throw error;
    }
  }
  await syncDirectory(root);
}
