import { mkdir, rename } from "node:fs/promises";
import { createWriteStream } from "node:fs";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";
import { tar, type TarFile } from "./tar.ts";

export interface Platform {
  readonly os: string;
  readonly architecture: string;
  readonly variant?: string;
}

export interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly platform?: Platform;
  readonly artifactType?: string;
  readonly annotations?: Readonly<Record<string, string>>;
}

/** A layer that was written, with the digest of its uncompressed archive for the image's config. */
export interface Layer {
  readonly descriptor: Descriptor;
  readonly diffId: string;
}

export const mediaTypes = {
  manifest: "application/vnd.oci.image.manifest.v1+json",
  index: "application/vnd.oci.image.index.v1+json",
  config: "application/vnd.oci.image.config.v1+json",
  layer: "application/vnd.oci.image.layer.v1.tar+gzip",
  dockerManifest: "application/vnd.docker.distribution.manifest.v2+json",
  dockerList: "application/vnd.docker.distribution.manifest.list.v2+json",
} as const;

export const sha256 = (bytes: Uint8Array): string =>
  `sha256:${new Bun.CryptoHasher("sha256").update(bytes).digest("hex")}`;

const json = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value));

/** An OCI image layout on disk (image-spec image-layout.md), the one source that every client can be fed from. */
export class Layout {
  readonly dir: string;
  readonly #tags: Descriptor[] = [];

  private constructor(dir: string) {
    this.dir = dir;
  }

  static async create(dir: string): Promise<Layout> {
    await mkdir(join(dir, "blobs/sha256"), { recursive: true });
    await Bun.write(join(dir, "oci-layout"), JSON.stringify({ imageLayoutVersion: "1.0.0" }));
    return new Layout(dir);
  }

  blobPath(digest: string): string {
    return join(this.dir, "blobs", digest.replace(":", "/"));
  }

  async blob(mediaType: string, bytes: Uint8Array): Promise<Descriptor> {
    const digest = sha256(bytes);
    await Bun.write(this.blobPath(digest), bytes);
    return { mediaType, digest, size: bytes.length };
  }

  async layer(files: readonly TarFile[]): Promise<Layer> {
    const archive = tar(files);
    const packed = Bun.gzipSync(Uint8Array.from(archive));
    return { descriptor: await this.blob(mediaTypes.layer, packed), diffId: sha256(archive) };
  }

  /** A layer from an archive that is too big for memory; stored in gzip's form without compressing. */
  async streamedLayer(archive: () => Iterable<Uint8Array>): Promise<Layer> {
    const plain = new Bun.CryptoHasher("sha256");
    const packed = new Bun.CryptoHasher("sha256");
    let size = 0;
    const partial = join(this.dir, "partial");
    await pipeline(
      function* source() {
        for (const chunk of archive()) {
          plain.update(chunk);
          yield chunk;
        }
      },
      createGzip({ level: 0, chunkSize: 2 ** 20 }),
      async function* hashed(chunks: AsyncIterable<Uint8Array>) {
        for await (const chunk of chunks) {
          packed.update(chunk);
          size += chunk.length;
          yield chunk;
        }
      },
      createWriteStream(partial),
    );
    const digest = `sha256:${packed.digest("hex")}`;
    await rename(partial, this.blobPath(digest));
    return {
      descriptor: { mediaType: mediaTypes.layer, digest, size },
      diffId: `sha256:${plain.digest("hex")}`,
    };
  }

  async image(
    layers: readonly Layer[],
    platform: Platform = { os: "linux", architecture: "amd64" },
  ): Promise<Descriptor> {
    const config = await this.blob(
      mediaTypes.config,
      json({
        ...platform,
        config: { Cmd: ["/bin/busybox", "echo", "held fast"] },
        rootfs: { type: "layers", diff_ids: layers.map((layer) => layer.diffId) },
        history: layers.map(() => ({
          created: "2024-01-01T00:00:00Z",
          created_by: "holdfast test",
        })),
      }),
    );
    const manifest = await this.blob(
      mediaTypes.manifest,
      json({
        schemaVersion: 2,
        mediaType: mediaTypes.manifest,
        config,
        layers: layers.map((layer) => layer.descriptor),
      }),
    );
    return { ...manifest, platform };
  }

  async index(manifests: readonly Descriptor[]): Promise<Descriptor> {
    return this.blob(
      mediaTypes.index,
      json({ schemaVersion: 2, mediaType: mediaTypes.index, manifests }),
    );
  }

  /** Names a manifest or an index of this layout. */
  async tag(target: Descriptor, name: string): Promise<void> {
    this.#tags.push({ ...target, annotations: { "org.opencontainers.image.ref.name": name } });
    const index = { schemaVersion: 2, mediaType: mediaTypes.index, manifests: this.#tags };
    await Bun.write(join(this.dir, "index.json"), JSON.stringify(index));
  }
}
