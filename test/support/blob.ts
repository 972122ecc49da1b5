/** Pushing and pulling one blob by `fetch`. */

export function sha256(bytes: Uint8Array): string {
  return `sha256:${new Bun.CryptoHasher("sha256").update(bytes).digest("hex")}`;
}

/** Path of a new upload session. */
export async function openUpload(url: string, repository: string): Promise<string> {
  const response = await fetch(`${url}/v2/${repository}/blobs/uploads/`, { method: "POST" });
  const location = response.headers.get("location");
  if (response.status !== 202 || location === null)
    throw new Error(`POST of an upload answered ${response.status}: ${await response.text()}`);
  const { pathname, search } = new URL(location, url);
  return pathname + search;
}

export function withDigest(path: string, digest: string): string {
  return `${path}${path.includes("?") ? "&" : "?"}digest=${digest}`;
}

/** Resolves to the digest of the stored blob. */
export async function pushBlob(
  url: string,
  repository: string,
  bytes: Uint8Array<ArrayBuffer>,
): Promise<string> {
  const digest = sha256(bytes);
  const path = withDigest(await openUpload(url, repository), digest);
  const response = await fetch(url + path, { method: "PUT", body: bytes });
  if (response.status !== 201)
    throw new Error(`PUT of a blob answered ${response.status}: ${await response.text()}`);
  return digest;
}

export async function pullBlob(
  url: string,
  repository: string,
  digest: string,
): Promise<Uint8Array> {
  const response = await fetch(`${url}/v2/${repository}/blobs/${digest}`);
  if (response.status !== 200) throw new Error(`GET of a blob answered ${response.status}`);
  return response.bytes();
}
