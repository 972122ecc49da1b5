import type { DataSet } from "./data.ts";
import { expectBody, expectDigest, expectHeader, expectStatus, location } from "./expect.ts";
import { headerList, type Reply } from "./message.ts";
import { IMAGE, INDEX } from "./media-types.ts";
import { Declined, type Report } from "./report.ts";
import { manifestUrl, short, type Place } from "./steps.ts";

/** Two `Accept` lines, not one comma list. */
export const ACCEPT_MANIFESTS = [
  ["Accept", INDEX],
  ["Accept", IMAGE],
] as const;

/** PUT by digest, with `?tag=` where the data set asks for it; fills in `tagged`. */
export async function pushByDigest(
  report: Report,
  place: Place,
  data: DataSet,
  digest: string,
  tagged: Set<string>,
): Promise<void> {
  const tags = data.tagByParameter
    ? [...data.tags].filter(([, target]) => target === digest).map(([tag]) => tag)
    : [];
  await report.check(`manifest-by-digest ${short(digest)}`, async () => {
    const reply = await putManifest(place, digest, data, digest, tags);
    const listed = headerList(reply, "OCI-Tag");
    const missing = tags.filter((tag) => !listed.includes(tag));
    for (const tag of tags) {
      if (listed.includes(tag)) {
        tagged.add(tag);
      }
    }
    if (missing.length > 0) {
      throw new Declined(`${reply.request}: no OCI-Tag for ${missing.join(", ")}`);
    }
  });
}

export async function pushByTag(
  report: Report,
  place: Place,
  data: DataSet,
  tag: string,
  digest: string,
): Promise<boolean> {
  return report.check(`manifest-by-tag ${tag}`, async () => {
    await putManifest(place, tag, data, digest);
  });
}

/**
 * PUT of a manifest of the data set (end-7), of unknown length as Go sends it. One to be refused has to get a
 * 400; any other is read back from the Location.
 */
export async function putManifest(
  place: Place,
  reference: string,
  data: DataSet,
  digest: string,
  tags: readonly string[] = [],
): Promise<Reply> {
  const bytes = manifestBytes(data, digest);
  const { mediaType, subject } = describe(bytes);
  const url = manifestUrl(place, reference);
  for (const tag of tags) {
    url.searchParams.append("tag", tag);
  }
  const reply = await place.client.send({
    method: "PUT",
    url,
    headers: [["Content-Type", mediaType]],
    body: bytes,
    chunked: true,
  });
  if (data.refused.has(digest)) {
    expectStatus(reply, 400);
    return reply;
  }
  expectStatus(reply, 201);
  expectDigest(reply, digest, "optional");
  if (subject !== undefined) {
    expectHeader(reply, "OCI-Subject", subject);
  }
  const read = await place.client.send({
    method: "GET",
    url: location(reply, url),
    headers: ACCEPT_MANIFESTS,
  });
  expectManifest(read, bytes);
  expectBody(read, bytes);
  return reply;
}

/** HEAD and GET of a manifest by tag or digest (end-3). */
export async function readManifest(
  report: Report,
  place: Place,
  method: "HEAD" | "GET",
  reference: string,
  data: DataSet,
  digest: string,
): Promise<void> {
  const by = reference === digest ? "by-digest" : "by-tag";
  await report.check(`manifest-${by} ${short(reference)}`, async () => {
    const bytes = manifestBytes(data, digest);
    const url = manifestUrl(place, reference);
    const reply = await place.client.send({ method, url, headers: ACCEPT_MANIFESTS });
    expectManifest(reply, bytes);
    expectDigest(reply, digest, "required");
    if (method === "GET") {
      expectBody(reply, bytes);
    }
  });
}

function expectManifest(reply: Reply, bytes: Uint8Array): void {
  expectStatus(reply, 200);
  expectHeader(reply, "Content-Type", describe(bytes).mediaType);
  expectHeader(reply, "Content-Length", `${bytes.length}`);
}

function manifestBytes(data: DataSet, digest: string): Uint8Array {
  const bytes = data.manifests.get(digest);
  if (bytes === undefined) {
    throw new Error(`the data set has no manifest ${digest}`);
  }
  return bytes;
}

function describe(bytes: Uint8Array): { mediaType: string; subject: string | undefined } {
  const document = JSON.parse(Buffer.from(bytes).toString()) as {
    mediaType: string;
    subject?: { digest: string };
  };
  return { mediaType: document.mediaType, subject: document.subject?.digest };
}
