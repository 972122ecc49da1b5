/** Removing what nobody will come back for: upload sessions without progress, and bytes that were given up. */
import { BlobStoreUnavailable, UploadBusy, type Locator } from "../blobs/port.ts";
import { keys, lastPart } from "../meta/keys.ts";
import type { Entry } from "../meta/port.ts";
import { expectation, type Context } from "./context.ts";
import { pages } from "../meta/pages.ts";
import { decode, type TrashRecord, type UploadRecord } from "./records.ts";

/** Purges sessions without progress for longer than `uploadExpiry`; resolves to how many. */
export async function purgeUploads(ctx: Context, signal: AbortSignal): Promise<number> {
  const deadline = ctx.clock.now() - ctx.options.uploadExpiry;
  return (await purgeRecords(ctx, deadline, signal)) + (await purgeBytes(ctx, deadline, signal));
}

/**
 * Removes bytes that wait for it, or whose removal a crash has cut short; resolves to how many are done with. Throws
 * `BlobStoreUnavailable` for the first of those that could not be, after all others.
 */
export async function sweepTrash(ctx: Context, signal: AbortSignal): Promise<number> {
  let removed = 0;
  let failure: BlobStoreUnavailable | undefined;
  for await (const { entries } of pages(ctx.meta, keys.trashes)) {
    for (const entry of entries) {
      if (signal.aborted) return removed;
      try {
        if (await sweep(ctx, entry)) removed++;
      } catch (error) {
        if (!(error instanceof BlobStoreUnavailable)) throw error;
        failure ??= error;
      }
    }
  }
  if (failure !== undefined) throw failure;
  return removed;
}

async function sweep(ctx: Context, entry: Entry): Promise<boolean> {
  const { notBefore = 0, until = 0 } = decode<TrashRecord>(entry)?.value ?? {};
  const now = ctx.clock.now();
  if (now < notBefore) return false;
  await ctx.blobs.delete(entry.key.slice(keys.trashes.length) as Locator);
  if (now < until) return false;
  // As it was read: it may have been given up anew, for longer.
  const outcome = await ctx.meta.commit({
    expect: [expectation(entry.key, entry)],
    delete: [entry.key],
  });
  return outcome.ok;
}

async function purgeRecords(ctx: Context, deadline: number, signal: AbortSignal): Promise<number> {
  let purged = 0;
  for await (const { entries } of pages(ctx.meta, keys.uploads)) {
    for (const entry of entries) {
      if (signal.aborted) return purged;
      const record = decode<UploadRecord>(entry);
      if (record === undefined || record.value.at > deadline) continue;
      // The record first: a request that is still writing finds it gone, and notes its bytes anew.
      const outcome = await ctx.meta.commit({
        expect: [expectation(entry.key, entry)],
        delete: [entry.key],
      });
      if (!outcome.ok) continue;
      await discard(ctx, lastPart(entry.key));
      purged++;
    }
  }
  return purged;
}

/** Bytes without a record are what a killed server left behind. */
async function purgeBytes(ctx: Context, deadline: number, signal: AbortSignal): Promise<number> {
  let purged = 0;
  for await (const { id, modified } of ctx.blobs.uploads()) {
    if (signal.aborted) break;
    if (modified > deadline) continue;
    const { entries } = await ctx.meta.get([keys.upload(id)]);
    if (entries[0] === undefined && (await discard(ctx, id))) purged++;
  }
  return purged;
}

async function discard(ctx: Context, id: string): Promise<boolean> {
  try {
    await ctx.blobs.discard(id);
    return true;
  } catch (error) {
    if (error instanceof UploadBusy) return false;
    throw error;
  }
}
