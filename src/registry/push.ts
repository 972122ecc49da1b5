/** Receiving manifests and moving tags: distribution-spec §Pushing manifests. */
import { randomHex } from "../base/clock.ts";
import { keys } from "../meta/keys.ts";
import type { Commit, Entry } from "../meta/port.ts";
import { decode, type LinkRecord, type ManifestRecord, type TagRecord } from "./records.ts";
import { digestOf } from "../blobs/content.ts";
import { algorithmOf, type Digest } from "../oci/digest.ts";
import { OciError } from "../oci/errors.ts";
import { parseManifest, type Descriptor, type Manifest } from "../oci/manifest.ts";
import type { RepositoryName, Tag } from "../oci/name.ts";
import type { Reference } from "../oci/route.ts";
import { commitPlan, expectation, type Caller, type Context, readToPush } from "./context.ts";
import { IncomingBytes, tidy, type Settled } from "./bytes.ts";
import { checkPrecondition, type Precondition } from "./precondition.ts";
import { latestMove } from "./history.ts";
import { indexPuts, manifestPuts, tagPuts, type Puts } from "./manifest-records.ts";
import { isLive, joinRepository } from "./repository.ts";

export interface ManifestPush {
  readonly name: RepositoryName;
  readonly reference: Reference;
  /** Without parameters. */
  readonly contentType: string | undefined;
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Further tags to set, of a push by digest. */
  readonly tags: readonly Tag[];
  readonly precondition: Precondition;
}

export interface PushedManifest {
  readonly digest: Digest;
  readonly subject: string | undefined;
}

interface Pushed extends PushedManifest {
  readonly push: ManifestPush;
  readonly manifest: Manifest;
  readonly caller: Caller;
  /** All tags to set. */
  readonly tags: readonly Tag[];
}

/** What of the store a push depends on, read in one snapshot. */
interface State {
  readonly repository: Entry | undefined;
  readonly fence: Entry | undefined;
  readonly blob: Entry | undefined;
  readonly manifest: Entry | undefined;
  readonly tags: readonly (Entry | undefined)[];
  /** First entry of each tag's history. */
  readonly histories: readonly (Entry | undefined)[];
  readonly links: ReadonlyMap<string, Entry | undefined>;
}

/** Operations of a commit that are not a tag's: repository, manifest, bytes and what they replace. */
const FIXED_OPERATIONS = 16;
/** The tag, its move, its index, and the index it leaves. */
const TAG_OPERATIONS = 4;

/**
 * Stores a manifest and sets its tags, all in one commit where the store takes as many. Throws MANIFEST_INVALID,
 * MANIFEST_BLOB_UNKNOWN, DIGEST_INVALID, SIZE_INVALID, or DENIED with status 412 for a failed precondition.
 */
export async function pushManifest(
  ctx: Context,
  caller: Caller,
  push: ManifestPush,
): Promise<PushedManifest> {
  const most = Math.floor((ctx.meta.operationsMax - FIXED_OPERATIONS) / TAG_OPERATIONS);
  const pushed = await pushAtOnce(ctx, caller, { ...push, tags: push.tags.slice(0, most) });
  for (let at = most; at < push.tags.length; at += most) {
    const tags = push.tags.slice(at, at + most);
    await pushAtOnce(ctx, caller, { ...push, tags, precondition: {} });
  }
  return pushed;
}

/** In one commit, which holds only while everything the manifest needs is still there. */
async function pushAtOnce(
  ctx: Context,
  caller: Caller,
  push: ManifestPush,
): Promise<PushedManifest> {
  const { reference, bytes } = push;
  const algorithm = reference.kind === "digest" ? algorithmOf(reference.digest) : "sha256";
  const digest = digestOf(bytes, algorithm);
  if (reference.kind === "digest" && digest !== reference.digest) {
    throw new OciError(
      "DIGEST_INVALID",
      `the manifest has digest ${digest}, not ${reference.digest}`,
      {
        detail: { expected: reference.digest, actual: digest },
      },
    );
  }
  const manifest = parseManifest(bytes, push.contentType, ctx.options.limits);
  const tags = reference.kind === "tag" ? [reference.tag] : [...new Set(push.tags)];
  const pushed: Pushed = {
    push,
    caller,
    digest,
    manifest,
    tags,
    subject: manifest.subject?.digest,
  };

  const incoming = new IncomingBytes(ctx, digest, async () => ctx.blobs.put(digest, bytes));
  try {
    const abandoned = await commitPlan(ctx.meta, async () => {
      const state = await readState(ctx, pushed);
      const existing = liveManifest(state);
      if (existing) checkMediaType(existing, push, manifest);
      else checkContent(ctx, pushed, state);
      checkPrecondition(push.precondition, await shownDigest(ctx, pushed, state));

      const settled = await incoming.settle(state.blob);
      const commit = await plan(ctx, pushed, state, existing, settled);
      return { commit, result: settled.loser };
    });
    await tidy(ctx, abandoned);
  } catch (error) {
    if (error instanceof OciError) await incoming.abandon();
    throw error;
  }
  return { digest, subject: pushed.subject };
}

async function readState(ctx: Context, { push, digest, manifest, tags }: Pushed): Promise<State> {
  const { name } = push;
  const needed = new Set<string>();
  for (const { digest } of manifest.blobs) needed.add(keys.link(digest, name));
  for (const { digest } of manifest.manifests) {
    // A child may be a manifest or, in BuildKit's older cache format, a blob.
    needed.add(keys.manifest(name, digest)).add(keys.link(digest, name));
  }
  const fixed = [
    keys.repository(name),
    keys.fence(name),
    keys.blob(digest),
    keys.manifest(name, digest),
  ];
  const tagKeys = tags.map((tag) => keys.tag(name, tag));
  const historyKeys = tags.map((tag) => keys.history(name, tag, 1));
  const linkKeys = [...needed];
  const wanted = [...fixed, ...tagKeys, ...historyKeys, ...linkKeys];
  const entries = await readToPush(ctx, wanted);
  const [repository, fence, blob, own] = entries;
  const histories = fixed.length + tags.length;
  const links = entries.slice(histories + tags.length);
  return {
    repository,
    fence,
    blob,
    manifest: own,
    tags: entries.slice(fixed.length, histories),
    histories: entries.slice(histories, histories + tags.length),
    links: new Map(linkKeys.map((key, i) => [key, links[i]])),
  };
}

function liveManifest(state: State): ManifestRecord | undefined {
  const record = decode<ManifestRecord>(state.manifest)?.value;
  return isLive(record, state.repository) ? record : undefined;
}

/** One digest has one media type in a repository: whoever pulls by digest must get what was pushed. */
function checkMediaType(existing: ManifestRecord, push: ManifestPush, manifest: Manifest): void {
  if (existing.mediaType === manifest.mediaType || push.contentType === undefined) return;
  throw new OciError(
    "MANIFEST_INVALID",
    `manifest invalid: these bytes are stored as ${existing.mediaType}; push them with that Content-Type`,
    { detail: { field: "mediaType" } },
  );
}

function checkContent(ctx: Context, { push, manifest }: Pushed, state: State): void {
  const { missingBlobs, missingManifests } = ctx.options;
  const { name } = push;
  const has = (key: string): boolean =>
    isLive(decode<LinkRecord>(state.links.get(key))?.value, state.repository);
  const missing: Descriptor[] = [];
  if (missingBlobs === "reject") {
    missing.push(...manifest.blobs.filter(({ digest }) => !has(keys.link(digest, name))));
  }
  if (missingManifests === "reject") {
    const lacks = ({ digest }: Descriptor): boolean =>
      !has(keys.manifest(name, digest)) && !has(keys.link(digest, name));
    missing.push(...manifest.manifests.filter(lacks));
  }
  const [first, ...rest] = missing;
  if (first === undefined) return;
  const describe = ({ digest, mediaType }: Descriptor): { message: string; detail: object } => ({
    message: `manifest refers to ${digest}, which ${name} lacks; push it first`,
    detail: { digest, mediaType },
  });
  const { message, detail } = describe(first);
  throw new OciError("MANIFEST_BLOB_UNKNOWN", message, { detail, more: rest.map(describe) });
}

/** The digest that the pushed reference shows before the push; not asked for where no condition needs it. */
async function shownDigest(
  ctx: Context,
  { push, digest }: Pushed,
  state: State,
): Promise<Digest | undefined> {
  const { ifMatch, ifNoneMatch } = push.precondition;
  if (ifMatch === undefined && ifNoneMatch === undefined) return undefined;
  if (push.reference.kind === "digest") return liveManifest(state) && digest;
  const tag = decode<TagRecord>(state.tags[0])?.value;
  if (tag === undefined || !isLive(tag, state.repository)) return undefined;
  // A delete that overtakes this read changes the fence, which the commit expects.
  const [target] = await readToPush(ctx, [keys.manifest(push.name, tag.digest)]);
  const manifest = decode<ManifestRecord>(target)?.value;
  return manifest?.generation === tag.generation ? tag.digest : undefined;
}

/** The commit, which only asks when everything is as it should be already: that is to be as durable as what is written. */
async function plan(
  ctx: Context,
  pushed: Pushed,
  state: State,
  existing: ManifestRecord | undefined,
  settled: Settled,
): Promise<Commit> {
  const { push, digest, tags } = pushed;
  const { name } = push;
  const join = joinRepository(ctx, name, state.repository);
  const generation = existing?.generation ?? randomHex(8);
  const put: Puts = [...join.put, ...settled.put];
  const remove: string[] = [];
  const expect = [
    ...join.expect,
    expectation(keys.fence(name), state.fence),
    expectation(keys.manifest(name, digest), state.manifest),
    ...settled.expect,
  ];
  const facts = {
    ...pushed,
    name,
    size: push.bytes.length,
    by: pushed.caller.subject,
    at: ctx.clock.now(),
  };
  if (existing === undefined) {
    put.push(...manifestPuts(facts, join.incarnation, generation));
    put.push({ key: keys.needs(name), value: JSON.stringify(generation) });
  }
  for (const [i, tag] of tags.entries()) {
    const entry = state.tags[i];
    const old = decode<TagRecord>(entry)?.value;
    if (old?.generation === generation && old.incarnation === join.incarnation) continue;
    expect.push(expectation(keys.tag(name, tag), entry));
    const isNew = state.histories[i] === undefined;
    const moves = 1 + (old?.moves ?? (isNew ? 0 : await latestMove(ctx, name, tag)));
    expect.push({ key: keys.history(name, tag, moves), version: 0 });
    const target = { incarnation: join.incarnation, generation, moves };
    put.push(...tagPuts(facts, tag, old, target));
    if (old !== undefined && old.digest !== digest) remove.push(keys.tagged(name, old.digest, tag));
  }
  const indexes = existing === undefined ? indexPuts(facts) : [];
  const room = Math.max(0, ctx.meta.operationsMax - put.length - remove.length);
  // Reverse indexes may go ahead: without its manifest one counts for nothing.
  for (let at = room; at < indexes.length; at += ctx.meta.operationsMax) {
    await ctx.meta.commit({ put: indexes.slice(at, at + ctx.meta.operationsMax) });
  }
  return { expect, put: [...put, ...indexes.slice(0, room)], delete: remove };
}
