import { randomBytes } from "node:crypto";
import { deleteAll } from "./data-checks.ts";
import { DataSet } from "./data.ts";
import { digestOf } from "./digest.ts";
import { expectStatus } from "./expect.ts";
import { listReferrers, listTags } from "./listings.ts";
import { ACCEPT_MANIFESTS, putManifest } from "./manifests.ts";
import type { Report } from "./report.ts";
import { manifestUrl, pushBlob, type Place } from "./steps.ts";

const MALFORMED = "sha256:baddigeststring";

export async function pingChecks(report: Report, { client }: Place): Promise<void> {
  await report.check("api-version", async () => {
    expectStatus(await client.send({ method: "GET", url: new URL("/v2/", client.base) }), 200);
  });
}

/** Listings of a repository that nothing was pushed to. */
export async function emptyChecks(report: Report, place: Place): Promise<void> {
  await report.check("tag list", async () => {
    await listTags(place);
  });
  await report.check("referrers", async () => {
    await listReferrers(place, digestOf(randomBytes(32)));
  });
}

export async function missingManifestChecks(report: Report, place: Place): Promise<void> {
  for (const [name, reference] of [
    ["by-digest", digestOf(randomBytes(1024))],
    ["by-tag", `missing-${randomBytes(10).toString("hex")}`],
  ] as const) {
    await report.check(name, () => expectGet(place, reference, 404));
  }
}

export async function invalidDigestChecks(report: Report, place: Place): Promise<void> {
  const data = new DataSet();
  const { digest } = data.image({ layers: 1 });
  for (const [digest, bytes] of data.blobs) {
    await pushBlob(report, { ...place, digest, bytes });
  }
  data.refused.add(digest);
  await report.check("manifest-put", async () => {
    await putManifest(place, MALFORMED, data, digest);
  });
  await report.check("manifest-get", () => expectGet(place, MALFORMED, 404, 400));
  await report.group("delete", (report) => deleteAll(report, place, data, new Set()));
}

async function expectGet(place: Place, reference: string, ...statuses: number[]): Promise<void> {
  const url = manifestUrl(place, reference);
  const reply = await place.client.send({ method: "GET", url, headers: ACCEPT_MANIFESTS });
  expectStatus(reply, ...statuses);
}
