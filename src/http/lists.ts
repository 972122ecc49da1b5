/** Listings with paging: distribution-spec §Listing tags, §Listing referrers; Docker's `_catalog`. */
import type { Digest } from "../oci/digest.ts";
import { OCI_INDEX } from "../oci/media-type.ts";
import type { RepositoryName } from "../oci/name.ts";
import type { Page } from "../registry/list.ts";
import { staleWarning, type Call } from "./call.ts";
import { answer, json, type Headers } from "./respond.ts";

/** For as long as another registry's repositories are being counted. */
const INCOMPLETE =
  '299 - "repositories that are being taken over are still being listed; more will follow"';

export async function getTags(call: Call, name: RepositoryName): Promise<Response> {
  const page = await call.registry.listTags(name, pageOf(call));
  return json(200, { name, tags: page.names }, pageHeaders(call, `/v2/${name}/tags/list`, page));
}

export async function getCatalog(call: Call): Promise<Response> {
  const page = await call.registry.listRepositories(pageOf(call));
  const headers = pageHeaders(call, "/v2/_catalog", page);
  if (!page.complete) headers["Warning"] = INCOMPLETE;
  return json(200, { repositories: page.names }, headers);
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

function pageHeaders(call: Call, path: string, page: Page): Headers {
  const { query } = call;
  const last = page.names.at(-1);
  const link =
    page.more && last !== undefined ? nextLink(call, path, { n: query.one("n"), last }) : {};
  return { ...link, ...staleWarning(page.stale) };
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
