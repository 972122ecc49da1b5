/** Content pushed by HTTP, and what a registry shows of it, for comparison. */
import {
  bytesOf,
  expectStatus,
  imageManifest,
  MANIFEST_TYPE,
  pushBlob,
  sha256,
} from "../../support/push.ts";

export const INDEX_TYPE = "application/vnd.oci.image.index.v1+json";

/** What was pushed: every answer that a later GET has to repeat. */
export interface Pushed {
  /** By `repository` and tag: digest. */
  readonly tags: Map<string, Map<string, string>>;
  /** By path below `/v2/`: digest. */
  readonly paths: Map<string, string>;
}

export function nothing(): Pushed {
  return { tags: new Map(), paths: new Map() };
}

export async function pushText(
  url: string,
  pushed: Pushed,
  repository: string,
  reference: string,
  text: string,
  type: string = MANIFEST_TYPE,
): Promise<string> {
  const answer = await fetch(`${url}/v2/${repository}/manifests/${reference}`, {
    method: "PUT",
    body: text,
    headers: { "Content-Type": type },
  });
  await expectStatus(answer, 201);
  const digest = sha256(text);
  pushed.paths.set(`${repository}/manifests/${digest}`, digest);
  if (!reference.includes(":")) {
    const tags = pushed.tags.get(repository) ?? new Map<string, string>();
    pushed.tags.set(repository, tags.set(reference, digest));
  }
  return digest;
}

/** An image with one layer for each seed; equal seeds give equal layers. Resolves to its manifest's digest. */
export async function pushImage(
  url: string,
  pushed: Pushed,
  repository: string,
  reference: string | undefined,
  seeds: readonly number[],
  more: object = {},
): Promise<{ digest: string; text: string }> {
  const config = new TextEncoder().encode(
    JSON.stringify({
      architecture: "amd64",
      os: "linux",
      rootfs: { type: "layers", diff_ids: [] },
      seeds,
    }),
  );
  const parts = [config, ...seeds.map((seed) => bytesOf(seed, 3000 + 70_000 * (seed % 3)))];
  const blobs = [];
  for (const bytes of parts) {
    const digest = await pushBlob(url, repository, bytes);
    pushed.paths.set(`${repository}/blobs/${digest}`, digest);
    blobs.push({ digest, size: bytes.length });
  }
  const [first = { digest: "", size: 0 }, ...layers] = blobs;
  const plain = imageManifest({ config: first, layers });
  const text = JSON.stringify({ ...(JSON.parse(plain) as object), ...more });
  const digest = await pushText(url, pushed, repository, reference ?? sha256(text), text);
  return { digest, text };
}

/** Images, an index, tags that share a digest, repositories that share layers, nested names, a referrer. */
export async function fill(url: string): Promise<Pushed> {
  const pushed = nothing();
  const one = await pushImage(url, pushed, "a", "1.0", [1, 2]);
  await pushText(url, pushed, "a", "latest", one.text);
  await pushImage(url, pushed, "a", "2.0", [2, 3]);
  await pushImage(url, pushed, "a/b", "1.0", [1, 4]);
  await pushImage(url, pushed, "a-b", "1.0", [5]);
  const children = [];
  for (const seed of [6, 7]) {
    const { digest, text } = await pushImage(url, pushed, "library/multi", undefined, [seed, 1]);
    children.push({ mediaType: MANIFEST_TYPE, digest, size: text.length });
  }
  const index = { schemaVersion: 2, mediaType: INDEX_TYPE, manifests: children };
  await pushText(url, pushed, "library/multi", "all", JSON.stringify(index), INDEX_TYPE);
  const subject = { mediaType: MANIFEST_TYPE, digest: one.digest, size: one.text.length };
  await pushImage(url, pushed, "a", undefined, [8], {
    subject,
    artifactType: "application/vnd.test",
  });
  return pushed;
}

/** Pulls everything, by digest and by tag, and compares byte for byte by digest. */
export async function expectAll(url: string, { tags, paths }: Pushed): Promise<void> {
  const accept = { Accept: `${MANIFEST_TYPE}, ${INDEX_TYPE}` };
  const check = async (path: string, digest: string): Promise<void> => {
    const answer = await fetch(`${url}/v2/${path}`, { headers: accept });
    const bytes = await answer.bytes();
    if (answer.status !== 200 || sha256(bytes) !== digest) {
      throw new Error(`${path}: status ${answer.status}, ${bytes.length} bytes, ${sha256(bytes)}`);
    }
  };
  for (const [path, digest] of paths) await check(path, digest);
  for (const [repository, all] of tags) {
    for (const [tag, digest] of all) await check(`${repository}/manifests/${tag}`, digest);
  }
}

export async function catalog(url: string): Promise<string[]> {
  const answer = await fetch(`${url}/v2/_catalog?n=1000`);
  return ((await answer.json()) as { repositories: string[] }).repositories;
}

export async function tagsOf(url: string, repository: string): Promise<string[]> {
  const answer = await fetch(`${url}/v2/${repository}/tags/list`);
  return ((await answer.json()) as { tags?: string[] | null }).tags?.toSorted() ?? [];
}
