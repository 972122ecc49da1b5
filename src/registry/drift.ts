/** Comparing what metadata says with what is stored, both ways, and mending what can be. */
import { batches } from "../base/batches.ts";
import type { ListedBlob, OwnerlessBytes } from "../blobs/port.ts";
import { keys, lastPart } from "../meta/keys.ts";
import { parseDigest, type Digest } from "../oci/digest.ts";
import { expectation, type Context } from "./context.ts";
import { pages } from "../meta/pages.ts";
import { decode, encode, type BlobRecord, type Versioned } from "./records.ts";
import { findOwnerless } from "./ownerless.ts";
import { BATCH, removeUnknown, unknownOf } from "./unknown.ts";
import { isContent } from "./verify.ts";

/** What was found, and what became of it. */
export interface Drift {
  readonly kind:
    /** A record names bytes that are gone, or have another size. */
    | "bytes missing"
    /** A repository shows content that no record describes. */
    | "record missing"
    /** Stored bytes that no record names. */
    | "bytes unknown";
  readonly digest: Digest;
  /** Where the bytes are or should be; or the repository that shows them. */
  readonly where: string;
  /** In words, when it was mended. */
  readonly mended?: string;
}

export type DriftEvent =
  | { readonly type: "drift"; readonly drift: Drift }
  | { readonly type: "ownerless"; readonly bytes: OwnerlessBytes; readonly fate: Fate }
  /** Of `total` things to look at, as far as it is known. */
  | { readonly type: "progress"; readonly phase: DriftPhase; readonly done: number };

/** `young`: whoever wrote them may not be done for as long as uploads live; the purge takes them later. */
export type Fate = "removed" | "left" | "young";

export type DriftPhase = "records" | "rights" | "stored bytes";

export interface DriftOptions {
  readonly repair: boolean;
  readonly signal: AbortSignal;
}

/** Questions to the stores under way at once. */
const AT_ONCE = 32;

/** Throws what the stores throw. Memory grows with the number of records that are broken. */
export async function* findDrift(
  ctx: Context,
  { repair, signal }: DriftOptions,
): AsyncGenerator<DriftEvent, void, void> {
  const broken = new Map<Digest, Drift>();
  let done = 0;
  for await (const { entries } of pages(ctx.meta, keys.blobs)) {
    for (let at = 0; at < entries.length; at += AT_ONCE) {
      signal.throwIfAborted();
      const asked = entries.slice(at, at + AT_ONCE);
      for (const drift of await Promise.all(asked.map(async (e) => missingBytes(ctx, e)))) {
        if (drift !== undefined) broken.set(drift.digest, drift);
      }
      done += asked.length;
      yield { type: "progress", phase: "records", done };
    }
  }
  done = 0;
  for (const prefix of [keys.allLinks, keys.allKeeps]) {
    for await (const { entries } of pages(ctx.meta, prefix)) {
      signal.throwIfAborted();
      for (const drift of await missingRecords(
        ctx,
        entries.map(({ key }) => key),
      )) {
        if (!broken.has(drift.digest)) broken.set(drift.digest, drift);
      }
      done += entries.length;
      yield { type: "progress", phase: "rights", done };
    }
  }
  done = 0;
  for await (const listed of batches(ctx.blobs.list(), BATCH)) {
    signal.throwIfAborted();
    for (const blob of await unknownOf(ctx, listed)) {
      yield { type: "drift", drift: await settleUnknown(ctx, blob, broken, repair) };
    }
    done += listed.length;
    yield { type: "progress", phase: "stored bytes", done };
  }
  for (const drift of broken.values()) {
    yield { type: "drift", drift: repair ? await giveUp(ctx, drift) : drift };
  }
  const deadline = ctx.clock.now() - ctx.options.unnamedFor;
  for await (const bytes of findOwnerless(ctx)) {
    signal.throwIfAborted();
    const isOld = bytes.modified < deadline;
    if (isOld && repair) await ctx.blobs.discard(bytes.id);
    yield { type: "ownerless", bytes, fate: isOld ? (repair ? "removed" : "left") : "young" };
  }
}

async function missingBytes(
  ctx: Context,
  entry: { readonly key: string; readonly value: string; readonly version: number },
): Promise<Drift | undefined> {
  const digest = parseDigest(lastPart(entry.key));
  const record = decode<BlobRecord>(entry)?.value;
  if (digest === undefined || record === undefined || record.damaged) return undefined;
  if ((await ctx.blobs.stat(record.locator)) === record.size) return undefined;
  // It may have been replaced since the page was read.
  const now = await recordOf(ctx, digest);
  if (now?.version !== entry.version) return undefined;
  return { kind: "bytes missing", digest, where: record.locator };
}

/** `linked` are keys that end in the repository, with the digest before it. */
async function missingRecords(ctx: Context, linked: readonly string[]): Promise<Drift[]> {
  const shown = linked.flatMap((key) => {
    const [, digest = "", repository = ""] = key.split("!");
    const parsed = parseDigest(digest);
    return parsed === undefined ? [] : [{ digest: parsed, repository }];
  });
  const { entries } = await ctx.meta.get(shown.map(({ digest }) => keys.blob(digest)));
  return shown.flatMap(({ digest, repository }, i): Drift[] =>
    entries[i] === undefined ? [{ kind: "record missing", digest, where: repository }] : [],
  );
}

async function settleUnknown(
  ctx: Context,
  blob: ListedBlob,
  broken: Map<Digest, Drift>,
  repair: boolean,
): Promise<Drift> {
  const { digest, locator } = blob;
  const drift: Drift = { kind: "bytes unknown", digest, where: locator };
  if (!repair) return drift;
  const wanted = broken.get(digest);
  if (wanted !== undefined && (await isContent(ctx, digest, blob)) === true) {
    if (await takeInto(ctx, blob)) {
      broken.delete(digest);
      return { ...wanted, mended: `the record now names ${locator}` };
    }
  }
  return (await removeUnknown(ctx, blob)) ? { ...drift, mended: "removed" } : drift;
}

async function takeInto(ctx: Context, { digest, locator, size }: ListedBlob): Promise<boolean> {
  const record = await recordOf(ctx, digest);
  const value: BlobRecord = { size, locator, verified: true, at: ctx.clock.now() };
  const outcome = await ctx.meta.commit({
    expect: [expectation(keys.blob(digest), record), { key: keys.trash(locator), version: 0 }],
    put: [{ key: keys.blob(digest), value: encode(value) }],
  });
  return outcome.ok;
}

/** What nothing can bring back is said to be absent, so that the next push of it is stored. */
async function giveUp(ctx: Context, drift: Drift): Promise<Drift> {
  const { digest, kind, where } = drift;
  if (kind !== "bytes missing") return drift;
  const record = await recordOf(ctx, digest);
  if (record?.value.locator !== where) return { ...drift, mended: "pushed again meanwhile" };
  // Asked in another way: nothing is given up for one wrong answer. An unreachable store throws here.
  const body = await ctx.blobs.open(record.value.locator, record.value.size);
  if (body !== undefined) {
    if (body instanceof ReadableStream) await body.cancel();
    return { ...drift, mended: "there after all" };
  }
  const outcome = await ctx.meta.commit({
    expect: [expectation(keys.blob(digest), record)],
    put: [{ key: keys.blob(digest), value: encode({ ...record.value, damaged: true }) }],
  });
  return outcome.ok ? { ...drift, mended: "marked as lost: push it again" } : drift;
}

async function recordOf(ctx: Context, digest: Digest): Promise<Versioned<BlobRecord> | undefined> {
  const { entries } = await ctx.meta.get([keys.blob(digest)]);
  return decode<BlobRecord>(entries[0]);
}
