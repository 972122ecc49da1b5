/** Complete stored blobs that no record names: of a push that died before its commit, or of a store that was away while they were deleted. */
import { batches } from "../base/batches.ts";
import type { ListedBlob } from "../blobs/port.ts";
import { requireFresh } from "../meta/fresh.ts";
import { keys } from "../meta/keys.ts";
import { attempt } from "./bytes.ts";
import { expectation, type Context } from "./context.ts";
import { decode, encode, type BlobRecord, type TrashRecord } from "./records.ts";

/** Looking for them costs a listing of all blobs. */
const EVERY_MS = 86_400_000;
export const BATCH = 100;

/** Of a node's looks for them. */
interface LooksRecord {
  /** The latest. */
  readonly at: number;
  /** The first in these metadata. */
  readonly since: number;
  readonly metadata: string;
}

/** Those that no record names, and that no push under way can still come to name. Throws `StoreUnavailable`. */
export async function unknownOf(
  { meta, clock, options }: Context,
  listed: readonly ListedBlob[],
): Promise<ListedBlob[]> {
  // A session may be ended that long after its last byte; another time that long is beyond any push.
  const deadline = clock.now() - Math.max(2 * options.uploadExpiry, options.unnamedFor);
  const old = listed.filter(({ modified }) => modified < deadline);
  const { entries } = requireFresh(await meta.get(old.map(({ digest }) => keys.blob(digest))));
  return old.filter(({ locator }, i) => decode<BlobRecord>(entries[i])?.value.locator !== locator);
}

/**
 * Bytes of unknown owner go only after that was committed, and it stays for a while: a push that still holds them
 * expects it absent. False where somebody knows them after all; what cannot be reached is left to the sweep.
 */
export async function removeUnknown(
  ctx: Context,
  { digest, locator }: Pick<ListedBlob, "digest" | "locator">,
): Promise<boolean> {
  const key = keys.blob(digest);
  const [entry, given] = requireFresh(await ctx.meta.get([key, keys.trash(locator)])).entries;
  const now = ctx.clock.now();
  if (decode<BlobRecord>(entry)?.value.locator === locator) return false;
  if ((decode<TrashRecord>(given)?.value.notBefore ?? 0) > now) return false;
  const trash: TrashRecord = { until: now + ctx.options.uploadExpiry };
  const outcome = await ctx.meta.commit({
    expect: [expectation(key, entry)],
    put: [{ key: keys.trash(locator), value: encode(trash) }],
  });
  if (outcome.ok) await attempt(() => ctx.blobs.delete(locator));
  return outcome.ok;
}

/**
 * Once a day, removes those on this node's own disk; resolves to how many. `metadata` names what the metadata go on
 * from: blobs older than the first look into them may be known to others, that somebody is about to bring back.
 */
export async function purgeUnknown(
  ctx: Context,
  metadata: string,
  signal: AbortSignal,
): Promise<number> {
  const since = await beginLook(ctx, metadata);
  if (since === undefined) return 0;
  let purged = 0;
  for await (const listed of batches(ctx.blobs.list(), BATCH)) {
    const old = listed.filter(({ modified }) => modified > since);
    if (old.length === 0) continue;
    for (const blob of await unknownOf(ctx, old)) {
      if (signal.aborted) return purged;
      if (await removeUnknown(ctx, blob)) purged++;
    }
  }
  return purged;
}

/** The time of the first look, if it is a day since the latest. */
async function beginLook(
  { meta, clock, blobs: { home = "" } }: Context,
  metadata: string,
): Promise<number | undefined> {
  const key = keys.lease(`unknown-bytes-${home}`);
  const latest = decode<LooksRecord>(requireFresh(await meta.get([key])).entries[0]);
  const now = clock.now();
  const known = latest?.value.metadata === metadata ? latest.value : undefined;
  if (known !== undefined && now - known.at < EVERY_MS) return undefined;
  const value: LooksRecord = { at: now, since: known?.since ?? now, metadata };
  const outcome = await meta.commit({
    expect: [expectation(key, latest)],
    put: [{ key, value: encode(value) }],
  });
  return outcome.ok ? known?.since : undefined;
}
