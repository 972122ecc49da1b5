/** The requests that most tests begin with, each checked for its success. */
import { expect } from "bun:test";
import { digestOf, EMPTY_JSON, imageOf, OCI_IMAGE, type Algorithm, type Bytes } from "./content.ts";

export type Handle = (path: string, init?: RequestInit) => Promise<Response>;

export async function put(
  handle: Handle,
  path: string,
  body: Bytes,
  headers: Record<string, string> = {},
): Promise<Response> {
  return handle(path, { method: "PUT", body, headers });
}

export async function patch(
  handle: Handle,
  path: string,
  body: Bytes,
  headers: Record<string, string> = {},
): Promise<Response> {
  return handle(path, { method: "PATCH", body, headers });
}

/** Puts a blob into the repository with one request; its digest. */
export async function pushBlob(
  handle: Handle,
  name: string,
  content: Bytes,
  algorithm: Algorithm = "sha256",
): Promise<string> {
  const digest = digestOf(content, algorithm);
  const path = `/v2/${name}/blobs/uploads/?digest=${digest}`;
  const response = await handle(path, { method: "POST", body: content });
  expect(response.status).toBe(201);
  return digest;
}

export async function putManifest(
  handle: Handle,
  name: string,
  reference: string,
  text: string,
  headers: Record<string, string> = {},
): Promise<Response> {
  const path = `/v2/${name}/manifests/${reference}`;
  return put(handle, path, text, { "Content-Type": OCI_IMAGE, ...headers });
}

/** Pushes a manifest whose content is there already; its digest. */
export async function pushManifest(
  handle: Handle,
  name: string,
  reference: string,
  text: string,
  contentType = OCI_IMAGE,
): Promise<string> {
  const response = await putManifest(handle, name, reference, text, {
    "Content-Type": contentType,
  });
  expect(response.status).toBe(201);
  return digestOf(text);
}

export interface PushedImage {
  readonly text: string;
  readonly digest: string;
  readonly layer: string;
}

/** A whole image of one layer; `layer` tells images apart. */
export async function pushImage(
  handle: Handle,
  name: string,
  tag: string,
  layer: Bytes = `layer of ${name}:${tag}`,
): Promise<PushedImage> {
  await pushBlob(handle, name, EMPTY_JSON);
  const text = imageOf([layer]);
  const pushed = await pushBlob(handle, name, layer);
  return { text, digest: await pushManifest(handle, name, tag, text), layer: pushed };
}

/** Opens an upload session; its location. */
export async function openSession(handle: Handle, name: string, query = ""): Promise<string> {
  const response = await handle(`/v2/${name}/blobs/uploads/${query}`, { method: "POST" });
  expect(response.status).toBe(202);
  return header(response, "Location");
}

/** A header that must be there. */
export function header(response: Response, name: string): string {
  const value = response.headers.get(name);
  if (value === null) throw new Error(`the ${response.status} answer has no ${name} header`);
  return value;
}

export async function tagsOf(handle: Handle, name: string, query = ""): Promise<string[]> {
  const response = await handle(`/v2/${name}/tags/list${query}`);
  expect(response.status).toBe(200);
  return ((await response.json()) as { tags: string[] }).tags;
}

/** The target of the `Link` to the next page; `undefined` on the last. */
export function nextOf(response: Response): string | undefined {
  const link = response.headers.get("Link");
  if (link === null) return undefined;
  const match = /^<(\/[^>]+)>; rel="next"$/.exec(link);
  if (!match?.[1]) throw new Error(`not a Link to a next page: ${link}`);
  return match[1];
}

/** A body without a length, in the pieces given, as `Transfer-Encoding: chunked` brings it. */
export function streamed(
  ...pieces: readonly (string | Uint8Array)[]
): ReadableStream<Uint8Array<ArrayBuffer>> {
  return new ReadableStream({
    start(controller) {
      for (const piece of pieces) controller.enqueue(new Uint8Array(Buffer.from(piece)));
      controller.close();
    },
  });
}
