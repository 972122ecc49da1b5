/** What healing reads in the records of blobs. */
import { placeKeyOf, type PlacedStore } from "../../blobs/placed.ts";
import type { StoredBlob } from "../../blobs/port.ts";
import { requireFresh } from "../../meta/fresh.ts";
import { keys } from "../../meta/keys.ts";
import type { MetaStore } from "../../meta/port.ts";

/** Those parts of `blob!` that matter here. */
interface Record extends StoredBlob {
  readonly foreign?: true;
  readonly damaged?: true;
  /** Milliseconds since the epoch. */
  readonly at: number;
}

/** A blob that has copies. */
export interface CopiedBlob extends StoredBlob {
  /** When its record was written, milliseconds since the epoch. */
  readonly at: number;
}

/** The blob of a record's text; `undefined` where there is nothing to copy, or nothing that could be. */
export function blobOf(text: string): CopiedBlob | undefined {
  const { locator, size, at, foreign, damaged } = JSON.parse(text) as Record;
  if (foreign === true || damaged === true) return undefined;
  // Only such locators can be given to another store: others are places in a file, or another registry's.
  return placeKeyOf(locator) === locator ? undefined : { locator, size, at };
}

/** Whether the registry still means these bytes. Throws `StoreUnavailable`. */
export async function isWanted(
  meta: MetaStore,
  store: Pick<PlacedStore, "digestOf">,
  { locator }: StoredBlob,
): Promise<boolean> {
  const digest = store.digestOf(locator);
  if (digest === undefined) return false;
  const [entry] = requireFresh(await meta.get([keys.blob(digest)])).entries;
  return entry !== undefined && blobOf(entry.value)?.locator === locator;
}
