import type { Client } from "./client.ts";
import {
  expectBody,
  expectDigest,
  expectHeader,
  expectStatus,
  location,
  withDigest,
} from "./expect.ts";
import { headerLines, type Reply } from "./message.ts";
import { OCTETS } from "./media-types.ts";
import { Declined } from "./report.ts";

/** One blob push. `wrong` says that the bytes do not match the digest, which has to end in a 400. */
export interface Push {
  readonly client: Client;
  readonly repo: string;
  readonly digest: string;
  readonly bytes: Uint8Array;
  readonly wrong?: boolean;
}

const OCTET_HEADER = [["Content-Type", OCTETS]] as const;

/** POST with the whole blob (end-4b). A 202 is completed by PUT and counts as declined. */
export async function postOnly(push: Push): Promise<void> {
  const { client, bytes, digest } = push;
  const url = withDigest(uploadsUrl(push), digest);
  const reply = await client.send({ method: "POST", url, headers: OCTET_HEADER, body: bytes });
  expectStatus(reply, push.wrong === true ? 400 : 201, 202);
  if (reply.status === 202) {
    await closeUpload(push, location(reply, url), bytes);
    throw new Declined("a POST with the blob was answered 202");
  }
  await checkClosed(push, reply, url);
}

/** POST, then one PUT with the whole blob (end-4a, end-6). */
export async function postPut(push: Push): Promise<void> {
  await closeUpload(push, (await openUpload(push)).url, push.bytes);
}

/** POST, one PATCH of unknown length without a Content-Range, then an empty PUT. */
export async function patchStream(push: Push): Promise<void> {
  const { url } = await openUpload(push);
  const reply = await push.client.send({
    method: "PATCH",
    url,
    headers: OCTET_HEADER,
    body: push.bytes,
    chunked: true,
  });
  expectStatus(reply, 202);
  await closeUpload(push, location(reply, url));
}

/** POST, then DELETE of the session (end-14). */
export async function cancel(push: Push): Promise<void> {
  const { url } = await openUpload(push);
  expectStatus(await push.client.send({ method: "DELETE", url }), 204);
}

/**
 * Mount (end-11). A 202 is completed by PUT and counts as declined.
 * @param source the repository to mount from; none asks the registry to find one
 */
export async function mount(push: Push, source?: string): Promise<void> {
  const url = uploadsUrl(push);
  if (source !== undefined) {
    url.searchParams.set("from", source);
  }
  url.searchParams.set("mount", push.digest);
  const reply = await push.client.send({ method: "POST", url });
  expectStatus(reply, 201, 202);
  if (reply.status === 202) {
    await closeUpload(push, location(reply, url), push.bytes, "optional");
    throw new Declined("the mount was answered 202");
  }
  await checkClosed(push, reply, url, "optional");
}

/** POST with no body: a new session. */
export async function openUpload(push: Push): Promise<{ url: URL; reply: Reply }> {
  const url = uploadsUrl(push);
  const reply = await push.client.send({ method: "POST", url });
  expectStatus(reply, 202);
  return { url: location(reply, url), reply };
}

/** The closing PUT, with the last bytes if there are any. */
export async function closeUpload(
  push: Push,
  session: URL,
  body?: Uint8Array,
  digestHeader: "required" | "optional" = "required",
  range?: string,
): Promise<void> {
  const url = withDigest(session, push.digest);
  const ranges = range === undefined ? [] : [["Content-Range", range] as const];
  const headers = [...OCTET_HEADER, ...ranges];
  const reply = await push.client.send({
    method: "PUT",
    url,
    headers,
    ...(body === undefined ? {} : { body }),
  });
  expectStatus(reply, push.wrong === true ? 400 : 201);
  await checkClosed(push, reply, url, digestHeader);
}

/** A chunk by PATCH, or by PUT when it is meant to close the session. */
export async function sendChunk(
  push: Push,
  url: URL,
  method: "PATCH" | "PUT",
  from: number,
  to: number,
): Promise<Reply> {
  return push.client.send({
    method,
    url,
    headers: [...OCTET_HEADER, ["Content-Range", `${from}-${to}`]],
    body: push.bytes.subarray(from, to + 1),
  });
}

/** The smallest chunk that the registry takes, 0 when it names none. */
export function minimumChunk(reply: Reply): number {
  const [line] = headerLines(reply, "OCI-Chunk-Min-Length");
  const minimum = Number(line ?? 0);
  if (!Number.isSafeInteger(minimum)) {
    throw new TypeError(`${reply.request}: OCI-Chunk-Min-Length is ${line}`);
  }
  return minimum;
}

async function checkClosed(
  push: Push,
  reply: Reply,
  base: URL,
  digestHeader: "required" | "optional" = "required",
): Promise<void> {
  if (push.wrong === true) {
    return;
  }
  expectDigest(reply, push.digest, digestHeader);
  const url = location(reply, base);
  const blob = await push.client.send({ method: "GET", url });
  expectStatus(blob, 200);
  expectHeader(blob, "Content-Length", `${push.bytes.length}`);
  expectBody(blob, push.bytes);
}

function uploadsUrl(push: Push): URL {
  return new URL(`/v2/${push.repo}/blobs/uploads/`, push.client.base);
}
