import type { Call, Client, Reply } from "./client.ts";

/** The few things a registry client does, each with its status checked (distribution-spec §push). */

export const expectStatus = async (
  connection: Client,
  call: Call,
  status: number,
): Promise<Reply> => {
  const reply = await connection.request(call);
  if (reply.status !== status)
    throw new Error(
      `${call.method} ${call.path} answered ${reply.status}, not ${status}: ${reply.body.toString("utf8", 0, 300)}`,
    );
  return reply;
};

/** Path and query of a Location, which may be absolute or relative. */
export const locationOf = (reply: Reply): string => {
  const location = reply.header("location");
  if (location === undefined) throw new Error("a reply without Location");
  if (location.startsWith("/")) return location;
  const url = new URL(location);
  return url.pathname + url.search;
};

export const withDigest = (location: string, digest: string): string =>
  `${location}${location.includes("?") ? "&" : "?"}digest=${digest}`;

/** Opens an upload session and returns its path. */
export const openUpload = async (connection: Client, repository: string): Promise<string> => {
  const path = `/v2/${repository}/blobs/uploads/`;
  return locationOf(await expectStatus(connection, { method: "POST", path }, 202));
};

const octets = { "Content-Type": "application/octet-stream" };

export interface Blob {
  readonly digest: string;
  readonly bytes: Uint8Array;
}

/** POST and one PUT. */
export const pushBlob = async (
  connection: Client,
  repository: string,
  blob: Blob,
): Promise<void> => {
  const path = withDigest(await openUpload(connection, repository), blob.digest);
  await expectStatus(connection, { method: "PUT", path, headers: octets, body: blob.bytes }, 201);
};

export interface Manifest extends Blob {
  readonly mediaType: string;
}

/** `reference` is a tag or a digest, with a query if it has one. */
export const pushManifest = async (
  connection: Client,
  repository: string,
  reference: string,
  manifest: Manifest,
): Promise<void> => {
  const path = `/v2/${repository}/manifests/${reference}`;
  const headers = { "Content-Type": manifest.mediaType };
  await expectStatus(connection, { method: "PUT", path, headers, body: manifest.bytes }, 201);
};
