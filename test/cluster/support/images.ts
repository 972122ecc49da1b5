/** Images of one layer, pushed and pulled back whole. */
import { expectStatus, imageManifest, pushBlob, pushManifest, sha256 } from "../../support/push.ts";

export interface Image {
  readonly repository: string;
  readonly tag: string;
  /** Of the manifest. */
  readonly digest: string;
  readonly layer: { readonly digest: string; readonly size: number };
}

/** Where the request of this number goes. */
type Route = (request: number) => string;

/** Throws when it is not acknowledged. With a route the layer comes in three chunks, each request by itself. */
export async function push(
  url: string,
  repository: string,
  tag: string,
  bytes: Uint8Array<ArrayBuffer>,
  route?: Route,
): Promise<Image> {
  const config = new TextEncoder().encode(`{"of":"${repository}"}`);
  const [configDigest, digest] = [
    await pushBlob(url, repository, config),
    route ? await pushInChunks(route, repository, bytes) : await pushBlob(url, repository, bytes),
  ];
  const layer = { digest, size: bytes.byteLength };
  const parts = { config: { digest: configDigest, size: config.byteLength }, layers: [layer] };
  const manifest = imageManifest(parts);
  await pushManifest(url, repository, tag, manifest);
  return { repository, tag, digest: sha256(manifest), layer };
}

async function pushInChunks(
  route: Route,
  repository: string,
  bytes: Uint8Array<ArrayBuffer>,
): Promise<string> {
  const digest = sha256(bytes);
  let turn = 0;
  const opened = await fetch(`${route(turn++)}/v2/${repository}/blobs/uploads/`, {
    method: "POST",
  });
  await expectStatus(opened, 202);
  let location = opened.headers.get("location") ?? "";
  const size = Math.ceil(bytes.byteLength / 3);
  for (let at = 0; at < bytes.byteLength; at += size) {
    const body = bytes.slice(at, at + size);
    const answer = await fetch(new URL(location, route(turn++)), {
      method: "PATCH",
      body,
      headers: { "Content-Range": `${at}-${at + body.byteLength - 1}` },
    });
    location = answer.headers.get("location") ?? "";
    await expectStatus(answer, 202);
  }
  const end = new URL(location, route(turn++));
  end.searchParams.set("digest", digest);
  await expectStatus(await fetch(end, { method: "PUT" }), 201);
  return digest;
}

/** Pulls by tag, then the layer, and compares. Throws with what is wrong. */
export async function pull(url: string, image: Image): Promise<void> {
  const problem = await pullProblem(url, image);
  if (problem !== undefined) throw new Error(problem);
}

/** What is wrong with an image at a node, if anything. */
export async function pullProblem(url: string, image: Image): Promise<string | undefined> {
  const { repository, tag, digest, layer } = image;
  const what = `${repository}:${tag} at ${url}`;
  try {
    const base = `${url}/v2/${repository}`;
    const manifest = await fetch(`${base}/manifests/${tag}`);
    const text = await manifest.text();
    if (manifest.status !== 200) return `${what}: manifest answered ${manifest.status} ${text}`;
    if (sha256(text) !== digest)
      return `${what}: another manifest, ${sha256(text)}, than ${digest}`;
    const blob = await fetch(`${base}/blobs/${layer.digest}`);
    if (blob.status !== 200) return `${what}: blob answered ${blob.status} ${await blob.text()}`;
    const actual = sha256(await blob.bytes());
    return actual === layer.digest ? undefined : `${what}: other bytes, ${actual}`;
  } catch (error) {
    return `${what}: ${String(error)}`;
  }
}
