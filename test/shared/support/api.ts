/** Requests that a test directs to a node of its choice, each on a connection of its own. */
import { MANIFEST_TYPE, imageManifest, sha256 } from "../../support/push.ts";

export interface Reached {
  readonly url: string;
}

export type Init = Omit<RequestInit, "headers"> & {
  readonly headers?: Readonly<Record<string, string>>;
};

/** Rejects like `fetch` when the connection is cut. */
export function request(node: Reached, path: string, init: Init = {}): Promise<Response> {
  return fetch(new URL(path, node.url), {
    signal: AbortSignal.timeout(30_000),
    ...init,
    headers: { ...init.headers, connection: "close" },
  });
}

/** Throws, with what was answered, for another status. */
export async function expectStatus(answer: Response, ...statuses: number[]): Promise<Response> {
  if (statuses.includes(answer.status)) return answer;
  throw new Error(`${answer.url} answered ${answer.status}: ${await answer.text()}`);
}

/** Path of a new upload session. */
export async function openUpload(node: Reached, repository: string): Promise<string> {
  const path = `/v2/${repository}/blobs/uploads/`;
  const opened = await expectStatus(await request(node, path, { method: "POST" }), 202);
  await opened.arrayBuffer();
  return locationOf(opened);
}

export function locationOf(answer: Response): string {
  const location = answer.headers.get("Location");
  if (location === null) throw new Error(`${answer.url} answered without a Location`);
  const { pathname, search } = new URL(location, answer.url);
  return pathname + search;
}

export function withDigest(path: string, digest: string): string {
  return `${path}${path.includes("?") ? "&" : "?"}digest=${digest}`;
}

export async function pushBlob(
  node: Reached,
  repository: string,
  bytes: Uint8Array<ArrayBuffer>,
): Promise<string> {
  const digest = sha256(bytes);
  const path = withDigest(`/v2/${repository}/blobs/uploads/`, digest);
  await expectStatus(await request(node, path, { method: "POST", body: bytes }), 201);
  return digest;
}

export async function pushManifest(
  node: Reached,
  repository: string,
  reference: string,
  manifest: string,
): Promise<string> {
  const answer = await request(node, `/v2/${repository}/manifests/${reference}`, {
    method: "PUT",
    body: manifest,
    headers: { "Content-Type": MANIFEST_TYPE },
  });
  await expectStatus(answer, 201);
  return sha256(manifest);
}

/** A manifest of these blobs, the first of which is its config. */
export function manifestOf(
  ...[config, ...layers]: readonly { readonly digest: string; readonly size: number }[]
): string {
  if (config === undefined) throw new Error("a manifest needs a config");
  return imageManifest({ config, layers });
}

/** A small image with a layer of its own; the manifest's digest and text. */
export async function pushImage(
  node: Reached,
  repository: string,
  tag: string,
  layer: Uint8Array<ArrayBuffer>,
): Promise<{ readonly digest: string; readonly text: string; readonly layer: string }> {
  const config = new TextEncoder().encode("{}");
  const text = manifestOf(
    { digest: await pushBlob(node, repository, config), size: config.length },
    { digest: await pushBlob(node, repository, layer), size: layer.length },
  );
  const digest = await pushManifest(node, repository, tag, text);
  return { digest, text, layer: sha256(layer) };
}

/** The digest of what is answered, which must be a success. */
export async function digestAt(node: Reached, path: string): Promise<string> {
  const answer = await expectStatus(await request(node, path), 200);
  const hasher = new Bun.CryptoHasher("sha256");
  for await (const chunk of answer.body ?? []) hasher.update(chunk);
  return `sha256:${hasher.digest("hex")}`;
}
