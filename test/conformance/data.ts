import { randomBytes } from "node:crypto";
import { gzipSync } from "node:zlib";
import { digestOf, type Algorithm } from "./digest.ts";
import { CONFIG, IMAGE, INDEX, LAYER, LAYER_GZIP, OCTETS } from "./media-types.ts";
import { tarOf } from "./tar.ts";

/** A content descriptor (image-spec, descriptor.md). */
export interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly data?: string;
  readonly urls?: readonly string[];
  readonly annotations?: Readonly<Record<string, string>>;
  readonly artifactType?: string;
  readonly platform?: Platform;
}

export interface Platform {
  readonly os: string;
  readonly architecture: string;
}

/** How the parts of an image or index are made; the defaults give two gzip layers on sha256. */
export interface Recipe {
  readonly algorithm?: Algorithm;
  readonly compress?: boolean;
  readonly layers?: number;
  /** Layers and config of an artifact instead of a container image; no `bytes`: random ones. */
  readonly artifact?: { type: string; layer: string; bytes?: Uint8Array; config: string };
  readonly annotations?: Readonly<Record<string, string>>;
  readonly uniqueAnnotation?: boolean;
  /** Put each blob's bytes into its descriptor too. */
  readonly embedData?: boolean;
  /** Add a field that no specification knows to config and manifests. */
  readonly extraField?: boolean;
  readonly subject?: Descriptor;
  readonly tag?: string;
}

export const AMD64: Platform = { os: "linux", architecture: "amd64" };
export const ARM64: Platform = { os: "linux", architecture: "arm64" };
const BOTH = [AMD64, ARM64];

/** The blobs, manifests and tags of one data set, and what a registry is to answer about them. */
export class DataSet {
  readonly blobs = new Map<string, Uint8Array>();
  /** By digest, in the order of pushing: children before the index that names them. */
  readonly manifests = new Map<string, Uint8Array>();
  readonly tags = new Map<string, string>();
  /** Subject digest to the descriptors that its referrers list has to hold. */
  readonly referrers = new Map<string, Descriptor[]>();
  /** Tag by `?tag=` on the push by digest. */
  tagByParameter = false;
  /** Manifests whose push has to be answered 400. */
  readonly refused = new Set<string>();

  blob(bytes: Uint8Array, mediaType = OCTETS, recipe: Recipe = {}): Descriptor {
    const digest = digestOf(bytes, recipe.algorithm);
    this.blobs.set(digest, bytes);
    const descriptor = { mediaType, digest, size: bytes.length };
    return recipe.embedData === true
      ? { ...descriptor, data: Buffer.from(bytes).toString("base64") }
      : descriptor;
  }

  /** A layer with one random file; `diffId` is the digest of its tar. */
  layer(recipe: Recipe = {}): { descriptor: Descriptor; diffId: string } {
    const text = `a file of the conformance suite, number ${randomBytes(16).toString("hex")}\n`;
    const tar = tarOf("conformance.txt", Buffer.from(text));
    const compress = recipe.compress ?? true;
    const bytes = compress ? gzipSync(tar) : tar;
    const descriptor = this.blob(bytes, compress ? LAYER_GZIP : LAYER, recipe);
    return { descriptor, diffId: digestOf(tar, recipe.algorithm) };
  }

  config(platform: Platform, diffIds: readonly string[], recipe: Recipe = {}): Descriptor {
    const rootfs = { type: "layers", diff_ids: diffIds };
    const config = { author: "holdfast conformance", ...platform, rootfs, ...extra(recipe) };
    return this.blob(Buffer.from(JSON.stringify(config)), CONFIG, recipe);
  }

  /** An image (or artifact) with new layers and a config. */
  image(recipe: Recipe = {}, platform = AMD64): Descriptor {
    const { artifact } = recipe;
    const count = recipe.layers ?? (artifact === undefined ? 2 : 1);
    if (artifact !== undefined) {
      const layers = Array.from({ length: count }, () =>
        this.blob(artifact.bytes ?? randomBytes(2048), artifact.layer, recipe),
      );
      return this.manifest(this.blob(Buffer.from("{}"), artifact.config, recipe), layers, recipe);
    }
    const made = Array.from({ length: count }, () => this.layer(recipe));
    const diffIds = made.map(({ diffId }) => diffId);
    const layers = made.map(({ descriptor }) => descriptor);
    return this.manifest(this.config(platform, diffIds, recipe), layers, recipe);
  }

  manifest(config: Descriptor, layers: readonly Descriptor[], recipe: Recipe = {}): Descriptor {
    return this.#add(IMAGE, { config, layers }, recipe, recipe.artifact?.type ?? config.mediaType);
  }

  /** An index over new images, one a platform. */
  imageIndex(recipe: Recipe = {}, platforms: readonly Platform[] = BOTH): Descriptor {
    const children = platforms.map((platform) => ({ ...this.image(recipe, platform), platform }));
    return this.index(children, recipe);
  }

  index(manifests: readonly Descriptor[], recipe: Recipe = {}): Descriptor {
    return this.#add(INDEX, { manifests }, recipe, recipe.artifact?.type);
  }

  #add(mediaType: string, parts: object, recipe: Recipe, referrerType?: string): Descriptor {
    const { subject, tag } = recipe;
    const annotations = annotationsOf(recipe);
    const document = {
      schemaVersion: 2,
      mediaType,
      artifactType: recipe.artifact?.type,
      ...parts,
      subject,
      annotations,
      ...extra(recipe),
    };
    const bytes = Buffer.from(JSON.stringify(document));
    const digest = digestOf(bytes, recipe.algorithm);
    const descriptor = { mediaType, digest, size: bytes.length };
    this.manifests.set(digest, bytes);
    if (tag !== undefined) {
      this.tags.set(tag, digest);
    }
    if (subject !== undefined) {
      const entry = {
        ...descriptor,
        ...(referrerType === undefined ? {} : { artifactType: referrerType }),
        ...(annotations === undefined ? {} : { annotations }),
      };
      this.referrers.set(subject.digest, [...(this.referrers.get(subject.digest) ?? []), entry]);
    }
    return descriptor;
  }
}

function annotationsOf(recipe: Recipe): Record<string, string> | undefined {
  if (recipe.uniqueAnnotation !== true) {
    return recipe.annotations;
  }
  const key = `org.example.${randomBytes(8).toString("hex")}`;
  return { ...recipe.annotations, [key]: randomBytes(8).toString("hex") };
}

function extra(recipe: Recipe): Record<string, string> {
  return recipe.extraField === true
    ? { "org.example.conformance.extra": randomBytes(8).toString("hex") }
    : {};
}
