/** How much is stored. */
import { keys } from "../meta/keys.ts";
import type { Context } from "./context.ts";
import { pages } from "../meta/pages.ts";
import { decode, type BlobRecord } from "./records.ts";

/** Counts all blobs: bounded memory, some microseconds a blob. */
export async function countBlobs(
  ctx: Context,
  signal: AbortSignal,
): Promise<{ readonly blobs: number; readonly bytes: number }> {
  let [blobs, bytes] = [0, 0];
  for await (const { entries } of pages(ctx.meta, keys.blobs)) {
    if (signal.aborted) break;
    blobs += entries.length;
    for (const entry of entries) bytes += decode<BlobRecord>(entry)?.value.size ?? 0;
  }
  return { blobs, bytes };
}
