/** Listing tags and repositories in byte order: distribution-spec §Listing tags. */
import { keys } from "../meta/keys.ts";
import type { Entry } from "../meta/port.ts";
import { decode, type ManifestRecord, type TagRecord } from "./records.ts";
import type { RepositoryName } from "../oci/name.ts";
import type { Context } from "./context.ts";
import { isLive, nameUnknown } from "./repository.ts";

/** Keys read at once while a page fills, so that memory does not grow with the page asked for. */
const BATCH = 1000;

export interface PageRequest {
  /** Entries wanted; `undefined` for as many as a page holds. */
  readonly limit: number | undefined;
  /** Exclusive; need not exist. */
  readonly last: string | undefined;
}

export interface Page {
  readonly names: readonly string[];
  /** More follow after the last name. */
  readonly more: boolean;
  readonly stale: boolean;
}

/** Throws NAME_UNKNOWN. */
export async function listTags(
  ctx: Context,
  name: RepositoryName,
  request: PageRequest,
): Promise<Page> {
  const limit = Math.min(request.limit ?? Infinity, ctx.options.limits.pageEntries);
  const what = { prefix: keys.tags(name), keysOnly: false };
  // Both at once: a store that is away is waited for once.
  const asked = ctx.meta.get([keys.repository(name)]);
  const [{ entries, stale }, page] = await Promise.all([
    asked,
    fill(ctx, what, limit, request.last, async (batch) =>
      liveTags(ctx, name, (await asked).entries[0], batch),
    ),
  ]);
  if (entries[0] === undefined) throw nameUnknown(name);
  return { ...page, stale: stale || page.stale };
}

export async function listRepositories(ctx: Context, request: PageRequest): Promise<Page> {
  const { catalogEntries, pageEntries } = ctx.options.limits;
  const limit = Math.min(request.limit ?? catalogEntries, pageEntries);
  return fill(
    ctx,
    { prefix: keys.repositories, keysOnly: true },
    limit,
    request.last,
    (all) => all,
  );
}

async function fill(
  ctx: Context,
  what: { readonly prefix: string; readonly keysOnly: boolean },
  limit: number,
  last: string | undefined,
  live: (batch: readonly Entry[]) => readonly Entry[] | Promise<readonly Entry[]>,
): Promise<Page> {
  const names: string[] = [];
  let after = last === undefined ? undefined : what.prefix + withoutNul(last);
  let more = limit > 0;
  let stale = false;
  while (more && names.length < limit) {
    const wanted = Math.min(BATCH, limit - names.length);
    const scan = await ctx.meta.scan({ ...what, limit: wanted, ...(after ? { after } : {}) });
    for (const { key } of await live(scan.entries)) names.push(key.slice(what.prefix.length));
    ({ more } = scan);
    stale ||= scan.stale;
    after = scan.entries.at(-1)?.key;
  }
  return { names, more: more && limit > 0, stale };
}

/** Leaves out tags whose manifest is gone. */
async function liveTags(
  ctx: Context,
  name: RepositoryName,
  repository: Entry | undefined,
  batch: readonly Entry[],
): Promise<readonly Entry[]> {
  const tags = batch.map((entry) => ({ entry, record: decode<TagRecord>(entry)?.value }));
  const digests = [...new Set(tags.flatMap(({ record }) => record?.digest ?? []))];
  const { entries } = await ctx.meta.get(digests.map((digest) => keys.manifest(name, digest)));
  const generations = new Map(
    digests.map((digest, i) => [digest, decode<ManifestRecord>(entries[i])?.value.generation]),
  );
  return tags
    .filter(({ record }) => {
      if (record === undefined || !isLive(record, repository)) return false;
      return generations.get(record.digest) === record.generation;
    })
    .map(({ entry }) => entry);
}

/** No key has a NUL, and not every engine takes one: the same keys come after what is before it. */
function withoutNul(last: string): string {
  return last.split("\0", 1)[0] ?? "";
}
