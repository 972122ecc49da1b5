import type { Client } from "./client.ts";
import { patchChunked } from "./chunked.ts";
import { expectBody, expectDigest, expectHeader, expectStatus } from "./expect.ts";
import { Declined, type Report } from "./report.ts";
import { patchStream, postOnly, postPut, type Push } from "./uploads.ts";

/** A place in one repository of the server. */
export interface Place {
  readonly client: Client;
  readonly repo: string;
}

/** The ways to push a blob, the preferred one first, with the check's name. */
const WAYS: readonly (readonly [string, (push: Push) => Promise<unknown>])[] = [
  ["blob-post-put", postPut],
  ["blob-post-only", postOnly],
  ["blob-patch-stream", patchStream],
  ["blob-patch-chunked", patchChunked],
];

/** Pushes by the first way that works; every way that does not is a failed or skipped check. */
export async function pushBlob(report: Report, push: Push): Promise<boolean> {
  for (const [name, way] of WAYS) {
    const done = await report.check(`${name} ${short(push.digest)}`, async () => {
      await way(push);
    });
    if (done) {
      return true;
    }
  }
  return false;
}

export async function headBlob(
  report: Report,
  place: Place,
  digest: string,
  bytes: Uint8Array,
): Promise<void> {
  await report.check(`blob-head ${short(digest)}`, async () => {
    const reply = await place.client.send({ method: "HEAD", url: blobUrl(place, digest) });
    expectStatus(reply, 200);
    expectHeader(reply, "Content-Length", `${bytes.length}`);
    expectDigest(reply, digest, "required");
  });
}

export async function getBlob(
  report: Report,
  place: Place,
  digest: string,
  bytes: Uint8Array,
): Promise<void> {
  await report.check(`blob-get ${short(digest)}`, async () => {
    const reply = await place.client.send({ method: "GET", url: blobUrl(place, digest) });
    expectStatus(reply, 200);
    expectHeader(reply, "Content-Length", `${bytes.length}`);
    expectBody(reply, bytes);
    expectDigest(reply, digest, "required");
  });
}

/** DELETE of a blob (end-10), then it has to be gone at once. */
export async function deleteBlob(report: Report, place: Place, digest: string): Promise<void> {
  await deleteAt(report, place, blobUrl(place, digest), `blob-delete ${short(digest)}`, [405]);
}

/** DELETE of a tag or manifest (end-9), then it has to be gone at once. */
export async function deleteManifest(
  report: Report,
  place: Place,
  reference: string,
): Promise<void> {
  const kind = reference.includes(":") ? "manifest-delete" : "tag-delete";
  const name = `${kind} ${short(reference)}`;
  await deleteAt(report, place, manifestUrl(place, reference), name, [400, 405]);
}

async function deleteAt(
  report: Report,
  { client }: Place,
  url: URL,
  name: string,
  declines: readonly number[],
): Promise<void> {
  const atomic = `${name} atomic`;
  const deleted = await report.check(name, async () => {
    const reply = await client.send({ method: "DELETE", url });
    expectStatus(reply, 202, 404, ...declines);
    if (declines.includes(reply.status)) {
      throw new Declined(`${reply.request}: status ${reply.status}`);
    }
  });
  if (!deleted) {
    report.skip(atomic, "nothing was deleted");
    return;
  }
  await report.check(atomic, async () => {
    expectStatus(await client.send({ method: "HEAD", url }), 404);
  });
}

export function blobUrl({ client, repo }: Place, digest: string): URL {
  return new URL(`/v2/${repo}/blobs/${digest}`, client.base);
}

export function manifestUrl({ client, repo }: Place, reference: string): URL {
  return new URL(`/v2/${repo}/manifests/${reference}`, client.base);
}

/** A digest short enough for a check's name; a tag as it is. */
export function short(reference: string): string {
  const [algorithm, hex] = reference.split(":");
  return hex === undefined ? reference : `${algorithm}:${hex.slice(0, 12)}`;
}
