/** Removing tags, manifests and blobs from a repository: distribution-spec §Content management. */
import { randomHex } from "../base/clock.ts";
import { keys, lastPart } from "../meta/keys.ts";
import type { Commit, Entry } from "../meta/port.ts";
import {
  decode,
  encode,
  type HistoryRecord,
  type LinkRecord,
  type ManifestRecord,
  type TagRecord,
} from "./records.ts";
import type { Digest } from "../oci/digest.ts";
import { OciError } from "../oci/errors.ts";
import { parseTag, type RepositoryName, type Tag } from "../oci/name.ts";
import type { Reference } from "../oci/route.ts";
import { commitPlan, expectation, readToPush, type Caller, type Context } from "./context.ts";
import { pages } from "../meta/pages.ts";
import { blobUnknown, manifestUnknown } from "./pull.ts";
import { isLive, nameUnknown } from "./repository.ts";

/** Tags removed in the commit that removes their manifest; more are dead at once and removed after it. */
const TAGS_PER_COMMIT = 20;
/** Manifests named in a refusal to delete a blob. */
const USERS_SHOWN_MAX = 5;

/** Removes a tag, or a manifest with every tag that shows it. Throws MANIFEST_UNKNOWN, NAME_UNKNOWN. */
export async function deleteManifest(
  ctx: Context,
  caller: Caller,
  name: RepositoryName,
  reference: Reference,
): Promise<void> {
  if (reference.kind === "tag") return deleteTag(ctx, caller, name, reference.tag);
  const { digest } = reference;
  const more = await commitPlan(ctx.meta, async () => {
    const [repository, manifest] = await read(ctx, name, keys.manifest(name, digest));
    const record = decode<ManifestRecord>(manifest)?.value;
    if (!record || !isLive(record, repository)) throw manifestUnknown(name, digest);

    const tags = await tagsOf(ctx, name, digest);
    const gone = [keys.manifest(name, digest), keys.keep(digest, name)];
    if (record.subject !== undefined) gone.push(keys.referrer(name, record.subject, digest));
    const removal = removeTags(ctx, caller, name, digest, tags.found);
    return {
      commit: {
        expect: [expectation(keys.manifest(name, digest), manifest), ...removal.expect],
        put: [fence(name), ...removal.put],
        delete: [...gone, ...removal.delete],
      },
      result: tags.more,
    };
  });
  if (more) await sweepTags(ctx, caller, name, digest);
}

async function deleteTag(
  ctx: Context,
  caller: Caller,
  name: RepositoryName,
  tag: Tag,
): Promise<void> {
  await commitPlan(ctx.meta, async () => {
    const [repository, entry] = await read(ctx, name, keys.tag(name, tag));
    const record = decode<TagRecord>(entry)?.value;
    if (!record || !entry || !isLive(record, repository)) throw manifestUnknown(name, tag);
    const [target] = await readToPush(ctx, [keys.manifest(name, record.digest)]);
    const manifest = decode<ManifestRecord>(target)?.value;
    if (manifest?.generation !== record.generation) throw manifestUnknown(name, tag);
    return {
      commit: removeTags(ctx, caller, name, record.digest, [{ tag, entry, record }]),
      result: undefined,
    };
  });
}

/** Removes a blob from the repository. Throws BLOB_UNKNOWN, NAME_UNKNOWN, or DENIED (405) while a manifest needs it. */
export async function deleteBlob(
  ctx: Context,
  name: RepositoryName,
  digest: Digest,
): Promise<void> {
  await commitPlan(ctx.meta, async () => {
    const linkKey = keys.link(digest, name);
    const needsKey = keys.needs(name);
    const [repository, link, needs] = await read(ctx, name, linkKey, needsKey);
    if (!isLive(decode<LinkRecord>(link)?.value, repository)) throw blobUnknown(name, digest);
    const users = await usersOf(ctx, name, digest, repository);
    if (users.length > 0) {
      throw new OciError(
        "DENIED",
        `the blob is part of ${users.join(", ")}; delete the manifest first`,
        {
          status: 405,
          detail: { manifests: users },
          headers: { Allow: "GET, HEAD" },
        },
      );
    }
    return {
      commit: {
        // A manifest that came to need the blob after this looked fails it; one that comes after it finds the
        // fence changed.
        expect: [expectation(linkKey, link), expectation(needsKey, needs)],
        put: [fence(name)],
        delete: [linkKey],
      },
      result: undefined,
    };
  });
}

async function read(
  ctx: Context,
  name: RepositoryName,
  ...wanted: string[]
): Promise<readonly (Entry | undefined)[]> {
  const entries = await readToPush(ctx, [keys.repository(name), ...wanted]);
  if (entries[0] === undefined) throw nameUnknown(name);
  return entries;
}

/** A new value, so that whoever has read the old one has to read again. */
function fence(name: RepositoryName): { readonly key: string; readonly value: string } {
  return { key: keys.fence(name), value: JSON.stringify(randomHex(8)) };
}

async function usersOf(
  ctx: Context,
  name: RepositoryName,
  digest: Digest,
  repository: Entry | undefined,
): Promise<string[]> {
  for await (const page of pages(ctx.meta, keys.uses(name, digest))) {
    const manifests = page.entries.map((entry) => lastPart(entry.key));
    const entries = await readToPush(
      ctx,
      manifests.map((digest) => keys.manifest(name, digest)),
    );
    // An index entry counts only with its manifest.
    const live = manifests.filter((_, i) =>
      isLive(decode<ManifestRecord>(entries[i])?.value, repository),
    );
    if (live.length > 0) return live.slice(0, USERS_SHOWN_MAX);
  }
  return [];
}

interface FoundTag {
  readonly tag: Tag;
  readonly entry: Entry;
  readonly record: TagRecord;
}

async function tagsOf(
  ctx: Context,
  name: RepositoryName,
  digest: Digest,
): Promise<{ readonly found: FoundTag[]; readonly more: boolean }> {
  const page = await ctx.meta.scan({ prefix: keys.taggeds(name, digest), limit: TAGS_PER_COMMIT });
  const tags = page.entries.map((e) => parseTag(lastPart(e.key))).filter((t) => t !== undefined);
  const { entries } = await ctx.meta.get(tags.map((tag) => keys.tag(name, tag)));
  const found = tags.flatMap((tag, i): FoundTag[] => {
    const entry = entries[i];
    const record = decode<TagRecord>(entry)?.value;
    return entry && record?.digest === digest ? [{ tag, entry, record }] : [];
  });
  return { found, more: page.more };
}

function removeTags(
  ctx: Context,
  caller: Caller,
  name: RepositoryName,
  digest: Digest,
  tags: readonly FoundTag[],
): Required<Commit> {
  const [by, at] = [caller.subject, ctx.clock.now()];
  return {
    expect: tags.map(({ entry }) => expectation(entry.key, entry)),
    put: tags.map(({ tag, record }) => ({
      key: keys.history(name, tag, record.moves + 1),
      value: encode({ from: digest, by, at } satisfies HistoryRecord),
    })),
    delete: tags.flatMap(({ tag, entry }) => [entry.key, keys.tagged(name, digest, tag)]),
  };
}

/** Clears away tags that died with their manifest: they read as absent already, whenever this is cut short. */
async function sweepTags(
  ctx: Context,
  caller: Caller,
  name: RepositoryName,
  digest: Digest,
): Promise<void> {
  let more = true;
  while (more) {
    more = await commitPlan(ctx.meta, async () => {
      const tags = await tagsOf(ctx, name, digest);
      const { entries } = await ctx.meta.get([keys.manifest(name, digest)]);
      const revived = decode<ManifestRecord>(entries[0])?.value.generation;
      const dead = tags.found.filter(({ record }) => record.generation !== revived);
      const progress = dead.length > 0 && tags.more;
      if (dead.length === 0) return { result: false };
      return { commit: removeTags(ctx, caller, name, digest, dead), result: progress };
    });
  }
}
