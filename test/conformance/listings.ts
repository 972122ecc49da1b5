import type { DataSet, Descriptor } from "./data.ts";
import { expectHeader, expectStatus } from "./expect.ts";
import { headerList } from "./message.ts";
import { INDEX } from "./media-types.ts";
import { Declined } from "./report.ts";
import type { Place } from "./steps.ts";

/** GET tags/list (end-8). A repository that does not exist has no tags. */
export async function listTags({ client, repo }: Place, last?: string): Promise<string[]> {
  const url = new URL(`/v2/${repo}/tags/list`, client.base);
  if (last !== undefined) {
    url.searchParams.set("last", last);
  }
  const reply = await client.send({ method: "GET", url });
  expectStatus(reply, 200, 404);
  if (reply.status === 404) {
    return [];
  }
  const { tags } = JSON.parse(Buffer.from(reply.body).toString()) as { tags?: string[] | null };
  return tags ?? [];
}

/** The data set's tags are listed, and `last` splits the list in bytewise order, in one answer. */
export async function checkTags(place: Place, data: DataSet): Promise<void> {
  const all = await listTags(place);
  expectAll(all, [...data.tags.keys()], "the list");
  if (all.length < 2) {
    return;
  }
  const sorted = all.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  const half = Math.floor(sorted.length / 2);
  const last = sorted[half - 1] ?? "";
  const rest = await listTags(place, last);
  expectAll(rest, sorted.slice(half), `the list after ${last}`);
  const again = sorted.slice(0, half).filter((tag) => rest.includes(tag));
  if (again.length > 0) {
    throw new Error(`the list after ${last} holds ${again.join(", ")}`);
  }
}

/** GET referrers (end-12): 200 and a valid index, also of a subject that nothing names. */
export async function listReferrers(
  { client, repo }: Place,
  subject: string,
  artifactType?: string,
): Promise<{ manifests: Descriptor[]; filtered: boolean }> {
  const url = new URL(`/v2/${repo}/referrers/${subject}`, client.base);
  if (artifactType !== undefined) {
    url.searchParams.set("artifactType", artifactType);
  }
  const reply = await client.send({ method: "GET", url });
  expectStatus(reply, 200);
  expectHeader(reply, "Content-Type", INDEX);
  const index = JSON.parse(Buffer.from(reply.body).toString()) as {
    schemaVersion?: number;
    mediaType?: string;
    manifests?: Descriptor[];
  };
  if (index.schemaVersion !== 2 || index.mediaType !== INDEX || !Array.isArray(index.manifests)) {
    throw new Error(`${reply.request}: the body is not an OCI image index`);
  }
  const filtered = headerList(reply, "OCI-Filters-Applied").includes("artifactType");
  return { manifests: index.manifests, filtered };
}

/** Every referrer of the data set is listed, unfiltered and by each artifact type. */
export async function checkReferrers(
  place: Place,
  subject: string,
  wanted: readonly Descriptor[],
): Promise<void> {
  expectReferrers((await listReferrers(place, subject)).manifests, wanted, subject);
  let declined = false;
  for (const type of new Set(wanted.map((each) => each.artifactType ?? ""))) {
    const { manifests, filtered } = await listReferrers(place, subject, type);
    const ofType = wanted.filter((each) => !filtered || each.artifactType === type);
    expectReferrers(manifests, ofType, `${subject} of type ${type}`);
    const other = manifests.find((each) => each.artifactType !== type);
    if (filtered && other !== undefined) {
      throw new Error(`the referrers of type ${type} hold ${JSON.stringify(other)}`);
    }
    declined ||= !filtered;
  }
  if (declined) {
    throw new Declined("referrers without OCI-Filters-Applied: artifactType");
  }
}

function expectReferrers(
  listed: readonly Descriptor[],
  wanted: readonly Descriptor[],
  what: string,
): void {
  for (const want of wanted) {
    const found = listed.some(
      (each) =>
        each.digest === want.digest &&
        each.mediaType === want.mediaType &&
        each.size === want.size &&
        each.artifactType === want.artifactType &&
        Object.entries(want.annotations ?? {}).every(
          ([key, value]) => each.annotations?.[key] === value,
        ),
    );
    if (!found) {
      throw new Error(`the referrers of ${what} lack ${JSON.stringify(want)}`);
    }
  }
}

function expectAll(listed: readonly string[], wanted: readonly string[], what: string): void {
  const missing = wanted.filter((tag) => !listed.includes(tag));
  if (missing.length > 0) {
    throw new Error(`${what} lacks the tags ${missing.join(", ")}`);
  }
}
