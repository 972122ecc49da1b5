import { closeSync, openSync, writeSync } from "node:fs";
import { open } from "node:fs/promises";
import type { Blob, Manifest } from "./registry.ts";

export const imageType = "application/vnd.oci.image.manifest.v1+json";
export const indexType = "application/vnd.oci.image.index.v1+json";
const configType = "application/vnd.oci.image.config.v1+json";
const layerType = "application/vnd.oci.image.layer.v1.tar+gzip";

export const digestOf = (bytes: Uint8Array): string => `sha256:${Bun.SHA256.hash(bytes, "hex")}`;

const blobOf = (bytes: Uint8Array): Blob => ({ digest: digestOf(bytes), bytes });

/** An incompressible blob; `size` in bytes. */
export const randomBlob = (size: number): Blob => {
  const bytes = Buffer.alloc(size);
  for (let at = 0; at < size; at += 65_536)
    crypto.getRandomValues(bytes.subarray(at, Math.min(size, at + 65_536)));
  return blobOf(bytes);
};

export const config: Blob = blobOf(
  Buffer.from('{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}'),
);

const manifestOf = (mediaType: string, content: object): Manifest => ({
  mediaType,
  ...blobOf(Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, ...content }))),
});

/** An image manifest of the shared config and these layers; `note` makes it unique. */
export const imageManifest = (layers: readonly Blob[], note: string): Manifest =>
  manifestOf(imageType, {
    config: { mediaType: configType, digest: config.digest, size: config.bytes.length },
    layers: layers.map((layer) => ({
      mediaType: layerType,
      digest: layer.digest,
      size: layer.bytes.length,
    })),
    annotations: { "org.opencontainers.image.title": note },
  });

/** An index without children: the smallest manifest that needs no blob in its repository. */
export const emptyIndex: Manifest = manifestOf(indexType, { manifests: [] });

export interface Image {
  readonly tag: string;
  readonly layers: readonly Blob[];
  readonly manifest: Manifest;
}

/** Images that share only their config; every layer is 4 KiB that nobody has pushed before. */
export const images = (count: number, layers: number, name: string): Image[] =>
  Array.from({ length: count }, (_, n) => {
    const tag = `${name}-${n}`;
    const unique = Array.from({ length: layers }, () => randomBlob(4096));
    return { tag, layers: unique, manifest: imageManifest(unique, tag) };
  });

/** A file to push, with the digest of its present content. */
export interface Source {
  readonly path: string;
  readonly size: number;
  readonly digest: string;
}

const digestOfFile = async (path: string): Promise<string> => {
  const hash = new Bun.CryptoHasher("sha256");
  for await (const chunk of Bun.file(path).stream()) hash.update(chunk);
  return `sha256:${hash.digest("hex")}`;
};

/** Writes `size` incompressible bytes. */
export const createSource = async (path: string, size: number): Promise<Source> => {
  const file = await open(path, "w");
  try {
    for (let at = 0; at < size; at += 2 ** 22)
      await file.write(randomBlob(Math.min(2 ** 22, size - at)).bytes);
  } finally {
    await file.close();
  }
  return { path, size, digest: await digestOfFile(path) };
};

/** Makes the file another blob by new random first bytes, so that no server has it already. */
export const renewSource = async (source: Source): Promise<Source> => {
  const fd = openSync(source.path, "r+");
  writeSync(fd, crypto.getRandomValues(new Uint8Array(32)), 0, 32, 0);
  closeSync(fd);
  return { ...source, digest: await digestOfFile(source.path) };
};
