/** Listings with paging: distribution-spec §Listing tags, §Listing referrers; Docker's `_catalog`. */
import type { Digest } from "../oci/digest.ts";
import { OCI_INDEX } from "../oci/media-type.ts";
import type { RepositoryName } from "../oci/name.ts";
import type { Run } from "../registry/list.ts";
import { staleWarning, type Call } from "./call.ts";
import { answer, jsonText, type Headers } from "./respond.ts";

/** For as long as another registry's repositories are being counted. */
const INCOMPLETE =
  '299 - "repositories that are being taken over are still being listed; more will follow"';

export async function getTags(call: Call, name: RepositoryName): Promise<Response> {
  const runs = call.registry.listTags(name, pageOf(call));
  const { text, headers } = await page(call, `/v2/${name}/tags/list`, runs);
  return jsonText(200, `{"name":${JSON.stringify(name)},"tags":[${text}]}`, headers);
}

export async function getCatalog(call: Call): Promise<Response> {
  // Asked before the page is read: what was listed by then is in it.
  const complete = await call.registry.isListed();
  const runs = call.registry.listRepositories(pageOf(call));
  const { text, headers } = await page(call, "/v2/_catalog", runs);
  if (!complete) headers["Warning"] = INCOMPLETE;
  return jsonText(200, `{"repositories":[${text}]}`, headers);
}

export async function getReferrers(
  call: Call,
  name: RepositoryName,
  subject: Digest,
): Promise<Response> {
  const { query } = call;
  // Media types hold no space, so one can only be a `+` that was not encoded.
  const artifactType = query.one("artifactType")?.replaceAll(" ", "+");
  const { descriptors, next, stale } = await call.registry.listReferrers(name, subject, {
    artifactType,
    limit: positive(query.count("n")),
    last: query.one("last"),
  });
  const params = { artifactType, n: query.one("n"), last: next };
  const headers: Headers = {
    "Content-Type": OCI_INDEX,
    ...(artifactType === undefined ? {} : { "OCI-Filters-Applied": "artifactType" }),
    ...(next === undefined ? {} : nextLink(call, `/v2/${name}/referrers/${subject}`, params)),
    ...staleWarning(stale),
  };
  const index = { schemaVersion: 2, mediaType: OCI_INDEX, manifests: descriptors };
  return answer(200, headers, JSON.stringify(index));
}

/** A page of referrers holds at least one: oras sends its own page size, and a list never ends at 0. */
function positive(count: number | undefined): number | undefined {
  return count === 0 ? undefined : count;
}

function pageOf({ query }: Call): { limit: number | undefined; last: string | undefined } {
  return { limit: query.count("n"), last: query.one("last") };
}

/** A page's names as JSON, without the brackets, and its headers. Each run becomes text as it comes, so that the entries of one live at a time. */
async function page(
  call: Call,
  path: string,
  runs: AsyncIterable<Run>,
): Promise<{ readonly text: string; readonly headers: Headers }> {
  const texts: string[] = [];
  let last: string | undefined;
  let follow = false;
  let outdated = false;
  for await (const { names, more, stale } of runs) {
    if (names.length > 0) texts.push(JSON.stringify(names).slice(1, -1));
    last = names.at(-1) ?? last;
    follow = more;
    outdated ||= stale;
  }
  const link =
    follow && last !== undefined ? nextLink(call, path, { n: call.query.one("n"), last }) : {};
  return { text: texts.join(","), headers: { ...link, ...staleWarning(outdated) } };
}

function nextLink(
  call: Call,
  path: string,
  params: Readonly<Record<string, string | undefined>>,
): Headers {
  const search = Object.entries(params)
    .flatMap(([key, value]) => (value === undefined ? [] : [`${key}=${encodeURIComponent(value)}`]))
    .join("&");
  return { Link: `<${call.link(path)}?${search}>; rel="next"` };
}
