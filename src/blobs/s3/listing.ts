/** Every complete blob in the order of the locators, from listings in any order. */
import { ALGORITHMS } from "../../oci/digest.ts";
import type { ListedBlob, Locator } from "../port.ts";
import type { ListedObject, S3Client } from "./client.ts";
import { BLOBS, digestIn, LARGE, placeOf } from "./names.ts";

/** Memory: the names of one two-digit prefix, or one page where the whole fits into it. */
export async function* listBlobs(client: S3Client, after: string): AsyncIterable<ListedBlob> {
  for (const kind of [BLOBS, LARGE]) {
    for (const algorithm of ALGORITHMS) {
      const top = `${kind}${algorithm}/`;
      // Everything below sorts before the name with "0", the character after "/", in place of the last "/".
      if (end(top) <= after) continue;
      const page = await client.list(top);
      if (page.next === undefined) yield* sorted(page.objects, after);
      else yield* listFolders(client, top, after);
    }
  }
}

async function* listFolders(
  client: S3Client,
  top: string,
  after: string,
): AsyncIterable<ListedBlob> {
  const folders: string[] = [];
  let token: string | undefined;
  do {
    const page = await client.list(top, { delimited: true, token });
    folders.push(...page.prefixes);
    token = page.next;
  } while (token !== undefined);
  for (const folder of folders.sort()) {
    if (end(folder) <= after) continue;
    const objects: ListedObject[] = [];
    for await (const object of client.listAll(folder)) objects.push(object);
    yield* sorted(objects, after);
  }
}

function* sorted(objects: readonly ListedObject[], after: string): Iterable<ListedBlob> {
  const keys = objects.toSorted((a, b) => (a.key < b.key ? -1 : 1));
  for (const { key, size, modified } of keys) {
    const place = key > after ? placeOf(key) : undefined;
    const digest = digestIn(key);
    if (place && digest) {
      yield { locator: key as Locator, digest, size: place.size ?? size, modified };
    }
  }
}

function end(folder: string): string {
  return `${folder.slice(0, -1)}0`;
}
