/** Writes distribution's layout by hand: what no registry would write, and more of it than pushing could in a test. */
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { imageManifest, sha256 } from "../../support/push.ts";

export class ForeignFiles {
  readonly top: string;

  constructor(data: string) {
    this.top = join(data, "docker/registry/v2");
    mkdirSync(join(this.top, "repositories"), { recursive: true });
    mkdirSync(join(this.top, "blobs/sha256"), { recursive: true });
  }

  write(path: string, content: string | Uint8Array): void {
    mkdirSync(dirname(join(this.top, path)), { recursive: true });
    writeFileSync(join(this.top, path), content);
  }

  /** Path of a blob's bytes. */
  blobPath(digest: string): string {
    const hex = digest.slice(7);
    return join(this.top, "blobs/sha256", hex.slice(0, 2), hex, "data");
  }

  blob(bytes: Uint8Array | string): string {
    const digest = sha256(bytes);
    const hex = digest.slice(7);
    this.write(`blobs/sha256/${hex.slice(0, 2)}/${hex}/data`, bytes);
    return digest;
  }

  layer(repository: string, digest: string, text: string = digest): void {
    this.write(`repositories/${repository}/_layers/${digest.replace(":", "/")}/link`, text);
  }

  revision(repository: string, digest: string, text: string = digest): void {
    const path = `repositories/${repository}/_manifests/revisions/${digest.replace(":", "/")}/link`;
    this.write(path, text);
  }

  tag(repository: string, tag: string, text: string): void {
    this.write(`repositories/${repository}/_manifests/tags/${tag}/current/link`, text);
  }

  /** An image of one layer. Resolves to the digests. */
  image(
    repository: string,
    tag: string,
    layerBytes: Uint8Array | string,
  ): { manifest: string; layer: string; config: string } {
    const config = this.blob(
      JSON.stringify({ architecture: "amd64", os: "linux", repository, tag }),
    );
    const layer = this.blob(layerBytes);
    const size = typeof layerBytes === "string" ? Buffer.byteLength(layerBytes) : layerBytes.length;
    for (const digest of [config, layer]) this.layer(repository, digest);
    const manifest = this.blob(
      imageManifest({ config: { digest: config, size: 1 }, layers: [{ digest: layer, size }] }),
    );
    this.revision(repository, manifest);
    this.tag(repository, tag, manifest);
    return { manifest, layer, config };
  }
}
