import { type Descriptor, mediaTypes, sha256 } from "./layout.ts";
import type { Sample } from "./images.ts";

const accept = [
  mediaTypes.manifest,
  mediaTypes.index,
  mediaTypes.dockerManifest,
  mediaTypes.dockerList,
  "*/*",
].join(",");

export interface Manifest {
  readonly digest: string;
  readonly mediaType: string;
  readonly bytes: Uint8Array;
  readonly body: {
    readonly mediaType?: string;
    readonly artifactType?: string;
    readonly subject?: Descriptor;
    readonly config?: Descriptor;
    readonly layers?: readonly Descriptor[];
    readonly manifests?: readonly Descriptor[];
  };
}

const expectStatus = async (
  response: Response,
  ...statuses: readonly number[]
): Promise<Response> => {
  if (statuses.includes(response.status)) return response;
  throw new Error(
    `${response.url}: ${response.status}, expected ${statuses.join(" or ")}: ${await response.text()}`,
  );
};

/** The registry seen without any client: what a test compares the client's work with. */
export class Api {
  readonly #url: string;

  constructor(url: string) {
    this.#url = url.replace(/\/$/, "");
  }

  async #get(path: string, ...statuses: readonly number[]): Promise<Response> {
    return expectStatus(await fetch(`${this.#url}${path}`, { headers: { accept } }), ...statuses);
  }

  async manifest(repository: string, reference: string): Promise<Manifest> {
    const response = await this.#get(`/v2/${repository}/manifests/${reference}`, 200);
    const bytes = await response.bytes();
    const mediaType = response.headers.get("content-type") ?? "";
    return {
      digest: sha256(bytes),
      mediaType,
      bytes,
      body: JSON.parse(new TextDecoder().decode(bytes)),
    };
  }

  async manifestStatus(repository: string, reference: string): Promise<number> {
    const response = await fetch(`${this.#url}/v2/${repository}/manifests/${reference}`, {
      method: "HEAD",
      headers: { accept },
    });
    return response.status;
  }

  async blobStatus(repository: string, digest: string): Promise<number> {
    return (await fetch(`${this.#url}/v2/${repository}/blobs/${digest}`, { method: "HEAD" }))
      .status;
  }

  /** Every tag, over all pages; none where there is no such repository. */
  async tags(repository: string): Promise<readonly string[]> {
    const found: string[] = [];
    let path: string | undefined = `/v2/${repository}/tags/list`;
    while (path !== undefined) {
      const response = await this.#get(path, 200, 404);
      if (response.status === 404) return found;
      found.push(...(((await response.json()) as { tags: readonly string[] | null }).tags ?? []));
      path = /<([^>]*)>; *rel="?next/.exec(response.headers.get("link") ?? "")?.[1];
    }
    return found;
  }

  /** The descriptors of `digest`'s referrers, or undefined where the registry has no referrers API. */
  async referrers(repository: string, digest: string): Promise<readonly Descriptor[] | undefined> {
    const response = await this.#get(`/v2/${repository}/referrers/${digest}`, 200, 404);
    if (response.status === 404) return undefined;
    return ((await response.json()) as { manifests: readonly Descriptor[] }).manifests;
  }

  async #verifyBlob(repository: string, { digest, size }: Descriptor): Promise<void> {
    const [algorithm = "", expected] = digest.split(":");
    const hasher = new Bun.CryptoHasher(algorithm as "sha256" | "sha512");
    const response = await this.#get(`/v2/${repository}/blobs/${digest}`, 200);
    let received = 0;
    for await (const chunk of response.body ?? []) {
      hasher.update(chunk);
      received += chunk.length;
    }
    if (received !== size || hasher.digest("hex") !== expected) {
      throw new Error(
        `${repository}: ${digest} of ${size} bytes came back as ${received} wrong bytes`,
      );
    }
  }

  /** Reads everything that a reference leads to and checks each byte. Returns the root's digest. */
  async verify(repository: string, reference: string): Promise<string> {
    const { digest, body } = await this.manifest(repository, reference);
    for (const child of body.manifests ?? []) await this.verify(repository, child.digest);
    for (const blob of [...(body.config ? [body.config] : []), ...(body.layers ?? [])]) {
      await this.#verifyBlob(repository, blob);
    }
    return digest;
  }

  /** Gives a manifest of the repository more tags. */
  async tag(repository: string, reference: string, tags: readonly string[]): Promise<void> {
    const { bytes, mediaType } = await this.manifest(repository, reference);
    for (const tag of tags) {
      const url = `${this.#url}/v2/${repository}/manifests/${tag}`;
      const headers = { "content-type": mediaType };
      await expectStatus(await fetch(url, { method: "PUT", body: bytes, headers }), 201);
    }
  }

  /** Pushes a sample's blobs and manifests, children first. */
  async push({ layout, root, tag }: Sample, repository: string): Promise<void> {
    await this.#pushManifest(root, repository, tag, (digest) => Bun.file(layout.blobPath(digest)));
  }

  async #pushManifest(
    target: Descriptor,
    repository: string,
    reference: string,
    file: (digest: string) => Blob,
  ): Promise<void> {
    const manifest = (await file(target.digest).json()) as Manifest["body"];
    for (const child of manifest.manifests ?? [])
      await this.#pushManifest(child, repository, child.digest, file);
    for (const blob of [
      ...(manifest.config ? [manifest.config] : []),
      ...(manifest.layers ?? []),
    ]) {
      const begun = await expectStatus(
        await fetch(`${this.#url}/v2/${repository}/blobs/uploads/`, { method: "POST" }),
        202,
      );
      const location = new URL(begun.headers.get("location") ?? "", this.#url);
      location.searchParams.set("digest", blob.digest);
      await expectStatus(await fetch(location, { method: "PUT", body: file(blob.digest) }), 201);
    }
    await expectStatus(
      await fetch(`${this.#url}/v2/${repository}/manifests/${reference}`, {
        method: "PUT",
        body: file(target.digest),
        headers: { "content-type": target.mediaType },
      }),
      201,
    );
  }
}
