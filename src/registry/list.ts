/** Listing tags and repositories in byte order: distribution-spec §Listing tags. */
import { keys } from "../meta/keys.ts";
import type { Entry } from "../meta/port.ts";
import { decode, type ManifestRecord, type TagRecord } from "./records.ts";
import type { RepositoryName } from "../oci/name.ts";
import type { Context } from "./context.ts";
import { absent } from "./pull.ts";
import { isLive, nameUnknown } from "./repository.ts";

/**
 * Keys read at once, so that memory hardly grows with the page asked for. With 1000, eight clients that list
 * 10,000 tags cost the server a quarter more than listing 100 does; with 250, a fifth.
 */
const RUN = 250;

export interface PageRequest {
  /** Entries wanted; `undefined` for as many as a page holds. */
  readonly limit: number | undefined;
  /** Exclusive; need not exist. */
  readonly last: string | undefined;
}

/** A part of a page, read at one moment; what changes meanwhile shows in the runs after it, or not at all. */
export interface Run {
  /** May be none, also where more follow. */
  readonly names: readonly string[];
  /** More follow, in the next run or, after the last one, on the next page. */
  readonly more: boolean;
  readonly stale: boolean;
}

/** The runs of a page, at least one. Throws NAME_UNKNOWN before the first. */
export async function* listTags(
  ctx: Context,
  name: RepositoryName,
  request: PageRequest,
): AsyncGenerator<Run, void, void> {
  const limit = Math.min(request.limit ?? Infinity, ctx.options.limits.pageEntries);
  const what = { prefix: keys.tags(name), keysOnly: false };
  // Asked together with the first run: a store that is away is waited for once.
  const asked = ctx.meta.get([keys.repository(name)]);
  const runs = runsOf(ctx, what, limit, request.last, async (found) =>
    liveTags(ctx, name, (await asked).entries[0], found),
  );
  const [{ entries, stale }, first] = await Promise.all([asked, runs.next()]);
  if (entries[0] === undefined) throw absent(stale, nameUnknown(name));
  if (first.done !== true) yield { ...first.value, stale: stale || first.value.stale };
  yield* runs;
}

/** The runs of a page, at least one. */
export function listRepositories(
  ctx: Context,
  request: PageRequest,
): AsyncGenerator<Run, void, void> {
  const { catalogEntries, pageEntries } = ctx.options.limits;
  const limit = Math.min(request.limit ?? catalogEntries, pageEntries);
  const what = { prefix: keys.repositories, keysOnly: true };
  return runsOf(ctx, what, limit, request.last, (found) => ({ entries: found, stale: false }));
}

async function* runsOf(
  ctx: Context,
  what: { readonly prefix: string; readonly keysOnly: boolean },
  limit: number,
  last: string | undefined,
  live: (found: readonly Entry[]) => Live | Promise<Live>,
): AsyncGenerator<Run, void, void> {
  let after = last === undefined ? undefined : what.prefix + withoutNul(last);
  let wanted = limit;
  let more = wanted > 0;
  if (!more) yield { names: [], more, stale: false };
  while (more && wanted > 0) {
    const scan = await ctx.meta.scan({
      ...what,
      limit: Math.min(RUN, wanted),
      ...(after ? { after } : {}),
    });
    const found = await live(scan.entries);
    const names = found.entries.map(({ key }) => key.slice(what.prefix.length));
    ({ more } = scan);
    wanted -= names.length;
    after = scan.entries.at(-1)?.key;
    yield { names, more, stale: scan.stale || found.stale };
  }
}

/** What is shown of a run; `stale` when that was decided by the last known state. */
interface Live {
  readonly entries: readonly Entry[];
  readonly stale: boolean;
}

/** Leaves out tags whose manifest is gone. */
async function liveTags(
  ctx: Context,
  name: RepositoryName,
  repository: Entry | undefined,
  batch: readonly Entry[],
): Promise<Live> {
  const tags = batch.map((entry) => ({ entry, record: decode<TagRecord>(entry)?.value }));
  const digests = [...new Set(tags.flatMap(({ record }) => record?.digest ?? []))];
  const { entries, stale } = await ctx.meta.get(
    digests.map((digest) => keys.manifest(name, digest)),
  );
  const generations = new Map(
    digests.map((digest, i) => [digest, decode<ManifestRecord>(entries[i])?.value.generation]),
  );
  const shown = tags.filter(({ record }) => {
    if (record === undefined || !isLive(record, repository)) return false;
    return generations.get(record.digest) === record.generation;
  });
  return { entries: shown.map(({ entry }) => entry), stale };
}

/** No key has a NUL, and not every engine takes one: the same keys come after what is before it. */
function withoutNul(last: string): string {
  return last.split("\0", 1)[0] ?? "";
}
