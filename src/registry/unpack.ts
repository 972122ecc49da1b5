/** Blobs that have no copies elsewhere lie where that is cheapest; those of a cluster need a name that fits any store. */
import type { PlacedStore } from "../blobs/placed.ts";
import type { Locator } from "../blobs/port.ts";
import { requireFresh } from "../meta/fresh.ts";
import { keys, lastPart } from "../meta/keys.ts";
import { pages } from "../meta/pages.ts";
import type { Entry, MetaStore } from "../meta/port.ts";
import { parseDigest } from "../oci/digest.ts";
import { decode, encode, type BlobRecord } from "./records.ts";

const AT_ONCE = 32;

interface Move {
  readonly entry: Entry;
  /** Of its record from now on. */
  readonly value: string;
}

export interface Unpacked {
  readonly blobs: number;
  /** Those whose bytes are gone: whoever comes to need them is told so. */
  readonly gone: number;
}

/** Whether bytes lie where only this store has a name for them. */
export type IsPacked = (locator: Locator) => boolean;

/**
 * Gives every packed blob whose bytes are in this store such a name, and its record with it; where they lay before they
 * stay. May be repeated after it was cut short, and leaves alone what others change meanwhile.
 */
export async function unpackBlobs(
  meta: MetaStore,
  blobs: PlacedStore,
  { isPacked, signal }: { readonly isPacked: IsPacked; readonly signal: AbortSignal },
): Promise<Unpacked> {
  let [unpacked, gone] = [0, 0];
  for await (const { entries } of pages(meta, keys.blobs)) {
    const packed = entries.filter((entry) => isIn(entry, isPacked));
    const left = packed.values();
    const moves: Move[] = [];
    const lane = async (): Promise<void> => {
      for (const entry of left) {
        signal.throwIfAborted();
        const value = await placed(blobs, entry);
        if (value !== undefined) moves.push({ entry, value: encode(value) });
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, lane));
    const most = Math.min(meta.operationsMax, moves.length);
    for (let at = 0; at < moves.length; at += most) await record(meta, moves.slice(at, at + most));
    unpacked += moves.length;
    gone += packed.length - moves.length;
  }
  return { blobs: unpacked, gone };
}

/** Whether any record still names a packed blob. Throws `StoreUnavailable` where that cannot be known. */
export async function namesPacked(meta: MetaStore, isPacked: IsPacked): Promise<boolean> {
  for await (const page of pages(meta, keys.blobs))
    if (requireFresh(page).entries.some((entry) => isIn(entry, isPacked))) return true;
  return false;
}

function isIn(entry: Entry, isPacked: IsPacked): boolean {
  const locator = decode<BlobRecord>(entry)?.value.locator;
  return locator !== undefined && isPacked(locator);
}

async function record(meta: MetaStore, moves: readonly Move[]): Promise<void> {
  const outcome = await meta.commit({
    expect: moves.map(({ entry: { key, version } }) => ({ key, version })),
    put: moves.map(({ entry: { key }, value }) => ({ key, value })),
  });
  if (!outcome.ok && moves.length > 1) for (const move of moves) await record(meta, [move]);
}

async function placed(blobs: PlacedStore, entry: Entry): Promise<BlobRecord | undefined> {
  const digest = parseDigest(lastPart(entry.key));
  const record = decode<BlobRecord>(entry)?.value;
  if (digest === undefined || record === undefined) return undefined;
  const bytes = await blobs.read(record.locator, record.size);
  if (bytes === undefined) return undefined;
  const { locator } = await blobs.place(blobs.newLocator(digest), bytes);
  return { ...record, locator };
}
