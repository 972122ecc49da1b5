/** A small client of the protocol for the suites: pushes what it is given and says what was acknowledged. */

export const MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json";

export function sha256(bytes: Uint8Array | string): string {
  return `sha256:${new Bun.CryptoHasher("sha256").update(bytes).digest("hex")}`;
}

/** Reproducible, incompressible bytes. */
export function bytesOf(seed: number, size: number): Uint8Array<ArrayBuffer> {
  const out = new Uint32Array(Math.ceil(size / 4));
  let state = (seed * 2_654_435_761 + 1) >>> 0;
  for (let i = 0; i < out.length; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    out[i] = state >>> 0;
  }
  return new Uint8Array(out.buffer, 0, size);
}

/** POST and PUT. Throws when the answer is not 201. */
export async function pushBlob(
  url: string,
  repository: string,
  bytes: Uint8Array<ArrayBuffer>,
): Promise<string> {
  const digest = sha256(bytes);
  const opened = await fetch(`${url}/v2/${repository}/blobs/uploads/`, { method: "POST" });
  await expectStatus(opened, 202);
  const location = new URL(opened.headers.get("location") ?? "", url);
  location.searchParams.set("digest", digest);
  await expectStatus(await fetch(location, { method: "PUT", body: bytes }), 201);
  return digest;
}

/** POST, a PATCH for each of so many parts, and an empty PUT. Throws when an answer is not as it should be. */
export async function pushInParts(
  url: string,
  repository: string,
  bytes: Uint8Array<ArrayBuffer>,
  parts: number,
): Promise<string> {
  const digest = sha256(bytes);
  let answer = await fetch(`${url}/v2/${repository}/blobs/uploads/`, { method: "POST" });
  await expectStatus(answer, 202);
  const location = (): URL => new URL(answer.headers.get("location") ?? "", url);
  const part = Math.ceil(bytes.length / parts);
  for (let at = 0; at < bytes.length; at += part) {
    answer = await fetch(location(), { method: "PATCH", body: bytes.slice(at, at + part) });
    await expectStatus(answer, 202);
  }
  const last = location();
  last.searchParams.set("digest", digest);
  await expectStatus(await fetch(last, { method: "PUT" }), 201);
  return digest;
}

export interface ImageParts {
  readonly config: { readonly digest: string; readonly size: number };
  readonly layers: readonly { readonly digest: string; readonly size: number }[];
}

export function imageManifest({ config, layers }: ImageParts): string {
  return JSON.stringify({
    schemaVersion: 2,
    mediaType: MANIFEST_TYPE,
    config: { mediaType: "application/vnd.oci.image.config.v1+json", ...config },
    layers: layers.map((layer) => ({
      mediaType: "application/vnd.oci.image.layer.v1.tar",
      ...layer,
    })),
  });
}

/** Throws when the answer is not 201. */
export async function pushManifest(
  url: string,
  repository: string,
  reference: string,
  manifest: string,
): Promise<string> {
  const answer = await fetch(`${url}/v2/${repository}/manifests/${reference}`, {
    method: "PUT",
    body: manifest,
    headers: { "Content-Type": MANIFEST_TYPE },
  });
  await expectStatus(answer, 201);
  return sha256(manifest);
}

export async function expectStatus(answer: Response, status: number): Promise<void> {
  const body = await answer.text();
  if (answer.status !== status) {
    throw new Error(`expected ${status}, got ${answer.status} from ${answer.url}: ${body}`);
  }
}
