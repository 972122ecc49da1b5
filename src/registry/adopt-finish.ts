/** The end of an adoption: every blob gets a place among our own, then the other registry's directory goes. */
import { batches } from "../base/batches.ts";
import { isFlaw, type RemovableLayout } from "../blobs/foreign.ts";
import { keys, lastPart } from "../meta/keys.ts";
import type { Entry } from "../meta/port.ts";
import { parseDigest, type Digest } from "../oci/digest.ts";
import { adoptionStatus, advanceAdoption } from "./adopt.ts";
import type { ForeignCount } from "./adopt-records.ts";
import { expectation, type Context } from "./context.ts";
import { decode, encode, type BlobRecord } from "./records.ts";
import { isContent } from "./verify.ts";

const BATCH = 500;
/** Blobs taken over at once: their commits share an fsync. */
const WIDTH = 16;

export interface FinishOptions {
  /** Only say what there is to do. */
  readonly dryRun: boolean;
  /** Give up blobs that are not what their digest names, instead of keeping the old directory for them. */
  readonly dropDamaged: boolean;
  readonly signal: AbortSignal;
  /** Milliseconds between the last change and the removal, in which requests under way open what they read. */
  readonly graceMs: number;
}

export type FinishEvent =
  /** What is to be done: blobs of ours still lying there, and bytes there that nothing refers to. */
  | ({
      readonly type: "plan";
      readonly unreferenced: number;
      readonly unreferencedBytes: number;
    } & ForeignCount)
  | {
      readonly type: "progress";
      readonly blobs: number;
      readonly bytes: number;
      readonly total: number;
      readonly totalBytes: number;
    }
  | {
      readonly type: "damaged";
      readonly digest: Digest;
      readonly problem: string;
      readonly dropped: boolean;
    }
  /** Everything is ours; the old directory is on its way out, which may take a while. */
  | { readonly type: "removing" }
  /** `removed`: the old directory is gone. Else `reason` says why it stays. */
  | { readonly type: "end"; readonly removed: boolean; readonly reason?: string };

/** Does it, event by event; whatever is cut short is taken up by the next call. */
export async function* finishAdoption(
  ctx: Context,
  layout: RemovableLayout,
  options: FinishOptions,
): AsyncGenerator<FinishEvent, void, void> {
  const { dryRun, dropDamaged, signal, graceMs } = options;
  const phase = (await adoptionStatus(ctx))?.phase;
  if (phase !== "done") {
    const reason =
      phase === undefined
        ? "there is nothing to finish: no other registry's directory was ever taken over here"
        : phase === "finished"
          ? "there is nothing to finish: the old directory is gone already"
          : "not everything is taken over yet: let the server run until its log says so";
    yield { type: "end", removed: false, reason };
    return;
  }
  const count = await countForeign(ctx);
  const unreferenced = await countUnreferenced(ctx, layout);
  yield { type: "plan", ...count, ...unreferenced };
  if (dryRun) {
    yield { type: "end", removed: false, reason: "this was a dry run" };
    return;
  }

  let [blobs, bytes, damaged] = [0, 0, 0];
  for await (const batch of batches(foreignBlobs(ctx), WIDTH)) {
    if (signal.aborted) {
      yield { type: "end", removed: false, reason: "it was interrupted" };
      return;
    }
    const problems = await Promise.all(batch.map(async (blob) => takeOver(ctx, layout, blob)));
    for (const [i, { digest, entry, record }] of batch.entries()) {
      blobs++;
      bytes += record.size;
      const problem = problems[i];
      if (problem === undefined) continue;
      damaged++;
      if (dropDamaged) {
        await ctx.meta.commit({ expect: [expectation(entry.key, entry)], delete: [entry.key] });
      }
      yield { type: "damaged", digest, problem, dropped: dropDamaged };
    }
    yield { type: "progress", blobs, bytes, total: count.foreign, totalBytes: count.bytes };
  }
  const left = (await countForeign(ctx)).foreign;
  if (left > 0) {
    const reason =
      damaged > 0
        ? `${left} damaged blobs are left: push their images again, or give them up with --drop-damaged`
        : `${left} blobs changed meanwhile: run it again`;
    yield { type: "end", removed: false, reason };
    return;
  }
  yield { type: "removing" };
  await Bun.sleep(graceMs);
  await layout.remove();
  await advanceAdoption(ctx, (state) => ({ ...state, phase: "finished" }));
  yield { type: "end", removed: true };
}

/** Foreign bytes that are known to the registry. */
export async function countForeign(ctx: Pick<Context, "meta">): Promise<ForeignCount> {
  const count = { foreign: 0, bytes: 0, unverified: 0 };
  for await (const { record } of foreignBlobs(ctx)) {
    count.foreign++;
    count.bytes += record.size;
    if (!record.verified) count.unverified++;
  }
  return count;
}

async function countUnreferenced(
  ctx: Context,
  layout: RemovableLayout,
): Promise<{ readonly unreferenced: number; readonly unreferencedBytes: number }> {
  const count = { unreferenced: 0, unreferencedBytes: 0 };
  for await (const batch of batches(layout.blobs(), BATCH)) {
    const { entries } = await ctx.meta.get(batch.map((digest) => keys.blob(digest)));
    for (const [i, digest] of batch.entries()) {
      if (entries[i] !== undefined) continue;
      const found = await layout.blob(digest);
      count.unreferenced++;
      count.unreferencedBytes += isFlaw(found) ? 0 : found.size;
    }
  }
  return count;
}

interface ForeignEntry {
  readonly digest: Digest;
  readonly entry: Entry;
  readonly record: BlobRecord;
}

async function* foreignBlobs({
  meta,
}: Pick<Context, "meta">): AsyncGenerator<ForeignEntry, void, void> {
  let after: string | undefined;
  do {
    const page = await meta.scan({ prefix: keys.blobs, limit: BATCH, ...(after ? { after } : {}) });
    for (const entry of page.entries) {
      const record = decode<BlobRecord>(entry)?.value;
      const digest = parseDigest(lastPart(entry.key));
      if (record?.foreign && digest) yield { digest, entry, record };
    }
    after = page.more ? page.entries.at(-1)?.key : undefined;
  } while (after !== undefined);
}

/** What is wrong with the blob, or `undefined` when its bytes are ours now. */
async function takeOver(
  ctx: Context,
  layout: RemovableLayout,
  { digest, entry, record }: ForeignEntry,
): Promise<string | undefined> {
  if ((await ctx.blobs.stat(record.locator)) === undefined) return "its bytes are gone";
  const { locator, size } = await layout.claim(digest);
  const sound =
    size === record.size &&
    (record.verified || (await isContent(ctx, digest, { locator, size })) === true);
  if (!sound) {
    await ctx.blobs.delete(locator);
    return size === record.size
      ? "its bytes are not what its digest names"
      : `it has ${size} bytes instead of ${record.size}`;
  }
  const { foreign: _foreign, damaged: _damaged, ...own } = record;
  let seen = entry;
  for (;;) {
    const outcome = await ctx.meta.commit({
      expect: [expectation(entry.key, seen)],
      put: [
        { key: entry.key, value: encode({ ...own, locator, verified: true } satisfies BlobRecord) },
      ],
    });
    if (outcome.ok) return undefined;
    // A pull may have noted that the bytes are right; anything else is somebody's new content.
    const now = (await ctx.meta.get([entry.key])).entries[0];
    if (now === undefined || !decode<BlobRecord>(now)?.value.foreign) {
      await ctx.blobs.delete(locator);
      return undefined;
    }
    seen = now;
  }
}
