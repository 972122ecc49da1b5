/** What lies on the disk of a node. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { sha256 } from "../../support/push.ts";

/** Names and digests of the blobs' files below a data directory. */
export function blobFiles(data: string): Map<string, string> {
  const files = readdirSync(join(data, "blobs"), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(data.length + 1))
    .sort();
  return new Map(files.map((name) => [name, sha256(readFileSync(join(data, name)))]));
}
