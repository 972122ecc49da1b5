/**
 * Sizes of the parts of a multipart upload: a store takes 10,000 of them, at least 5 MiB each but for the last.
 * They grow with their number, so that 5 TiB fit; up to 149 GiB an upload holds at most 64 MiB in memory.
 */
const MIB = 2 ** 20;
const GROWTH: readonly { readonly upTo: number; readonly size: number }[] = [
  { upTo: 1000, size: 8 * MIB },
  { upTo: 2000, size: 16 * MIB },
  { upTo: 6000, size: 32 * MIB },
  { upTo: 7000, size: 128 * MIB },
  { upTo: 8000, size: 512 * MIB },
  { upTo: 10_000, size: 2304 * MIB },
];
const MEMORY = 64 * MIB;
const IN_FLIGHT_MAX = 3;

export const PARTS_MAX = 10_000;
/** Blobs smaller than a part are stored whole. */
export const FIRST_PART = 8 * MIB;

/** Bytes of a part by its number, from 1. */
export function partSize(number: number): number {
  return GROWTH.find(({ upTo }) => number <= upTo)?.size ?? 2304 * MIB;
}

/** Parts of a size that may be on their way while another is gathered. */
export function inFlightMax(size: number): number {
  return Math.max(1, Math.min(IN_FLIGHT_MAX, Math.floor(MEMORY / size) - 1));
}
