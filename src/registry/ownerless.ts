/** Stored bytes that neither an upload nor a blob nor any record names. */
import type { Locator, OwnerlessBytes } from "../blobs/port.ts";
import { keys } from "../meta/keys.ts";
import { pages } from "../meta/pages.ts";
import { expectation, type Context } from "./context.ts";
import { decode, encode, type BlobRecord } from "./records.ts";

/** Looking for them costs a listing of all bytes, so it is done so often only, whatever is restarted meanwhile. */
const EVERY_MS = 86_400_000;
const LATEST = keys.lease("ownerless-bytes");

/** Of any age. */
export async function* findOwnerless(ctx: Context): AsyncGenerator<OwnerlessBytes, void, void> {
  if (ctx.blobs.ownerless) yield* ctx.blobs.ownerless(locators(ctx));
}

/** Removes those older than `unnamedFor`, once a day in the whole installation; resolves to how many. */
export async function purgeOwnerless(ctx: Context, signal: AbortSignal): Promise<number> {
  if (!ctx.blobs.ownerless || !(await isDue(ctx))) return 0;
  const deadline = ctx.clock.now() - ctx.options.unnamedFor;
  let purged = 0;
  for await (const { id, modified } of findOwnerless(ctx)) {
    if (signal.aborted) break;
    if (!(modified < deadline)) continue;
    await ctx.blobs.discard(id);
    purged++;
  }
  return purged;
}

/** Whether it is a day since the last time; if so, this is the last time from now on. The first is a day after the first start. */
async function isDue({ meta, clock }: Context): Promise<boolean> {
  const { entries } = await meta.get([LATEST]);
  const latest = decode<{ readonly at: number }>(entries[0]);
  const now = clock.now();
  if (latest !== undefined && now - latest.value.at < EVERY_MS) return false;
  const outcome = await meta.commit({
    expect: [expectation(LATEST, latest)],
    put: [{ key: LATEST, value: encode({ at: now }) }],
  });
  return outcome.ok && latest !== undefined;
}

async function* locators({ meta }: Context): AsyncGenerator<Locator, void, void> {
  for await (const { entries } of pages(meta, keys.blobs)) {
    for (const entry of entries) {
      const record = decode<BlobRecord>(entry);
      if (record !== undefined) yield record.value.locator;
    }
  }
}
