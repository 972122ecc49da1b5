import type { DataSet } from "./data.ts";
import { checkReferrers, checkTags } from "./listings.ts";
import { pushByDigest, pushByTag, readManifest } from "./manifests.ts";
import type { Report } from "./report.ts";
import {
  deleteBlob,
  deleteManifest,
  getBlob,
  headBlob,
  pushBlob,
  short,
  type Place,
} from "./steps.ts";

/** Pushes a data set, reads it back by every way, and deletes it again. */
export async function dataSetChecks(report: Report, place: Place, data: DataSet): Promise<void> {
  const tagged = new Set<string>();
  await report.group("push", (report) => pushAll(report, place, data, tagged));
  await report.check("tag-list", () => checkTags(place, data));
  const readable = [...data.manifests.keys()].filter((digest) => !data.refused.has(digest));
  for (const method of ["HEAD", "GET"] as const) {
    await report.group(method === "HEAD" ? "head" : "pull", async (report) => {
      for (const [tag, digest] of data.tags) {
        await readManifest(report, place, method, tag, data, digest);
      }
      for (const digest of readable) {
        await readManifest(report, place, method, digest, data, digest);
      }
      for (const [digest, bytes] of data.blobs) {
        await (method === "HEAD" ? headBlob : getBlob)(report, place, digest, bytes);
      }
    });
  }
  for (const [subject, referrers] of data.referrers) {
    await report.check(`referrers ${short(subject)}`, () =>
      checkReferrers(place, subject, referrers),
    );
  }
  await report.group("delete", (report) => deleteAll(report, place, data, tagged));
}

async function pushAll(
  report: Report,
  place: Place,
  data: DataSet,
  tagged: Set<string>,
): Promise<void> {
  for (const [digest, bytes] of data.blobs) {
    await pushBlob(report, { ...place, digest, bytes });
  }
  for (const digest of data.manifests.keys()) {
    await pushByDigest(report, place, data, digest, tagged);
  }
  for (const [tag, digest] of data.tags) {
    if (!tagged.has(tag) && (await pushByTag(report, place, data, tag, digest))) {
      tagged.add(tag);
    }
  }
}

/** Tags, then manifests (an index before its children), then blobs. */
export async function deleteAll(
  report: Report,
  place: Place,
  data: DataSet,
  tagged: ReadonlySet<string>,
): Promise<void> {
  for (const tag of tagged) {
    await deleteManifest(report, place, tag);
  }
  for (const digest of [...data.manifests.keys()].reverse()) {
    await deleteManifest(report, place, digest);
  }
  for (const digest of data.blobs.keys()) {
    await deleteBlob(report, place, digest);
  }
}
