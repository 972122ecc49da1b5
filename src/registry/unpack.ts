/** Blobs that have no copies elsewhere lie where that is cheapest; those of a cluster need a name that fits any store. */
import { placeKeyOf, type PlacedStore } from "../blobs/placed.ts";
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

/**
 * Gives every blob whose bytes are in this store such a name, and its record with it; where they lay before they stay.
 * May be repeated after it was cut short, and leaves alone what others change meanwhile.
 */
export async function unpackBlobs(
  meta: MetaStore,
  blobs: PlacedStore,
  signal: AbortSignal,
): Promise<Unpacked> {
  let [unpacked, gone] = [0, 0];
  for await (const { entries } of pages(meta, keys.blobs)) {
    const packed = entries.filter((entry) => {
      const locator = decode<BlobRecord>(entry)?.value.locator;
      return locator !== undefined && placeKeyOf(locator) === locator;
    });
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
