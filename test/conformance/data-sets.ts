import { randomBytes } from "node:crypto";
import { AMD64, ARM64, DataSet, type Descriptor, type Recipe } from "./data.ts";
import { digestOf, type Algorithm } from "./digest.ts";
import {
  EMPTY,
  EXAMPLE_1,
  EXAMPLE_2,
  IMAGE,
  LAYER_GZIP,
  LAYER_WITHHELD,
  LAYER_WITHHELD_GZIP,
  OCTETS,
} from "./media-types.ts";

const ARTIFACT = { type: EXAMPLE_1, layer: EXAMPLE_1, config: EMPTY };
const GREETING = { "org.opencontainers.conformance": "hello conformance test" };
const REFERRER: Recipe = { artifact: ARTIFACT, annotations: GREETING, uniqueAnnotation: true };

/** What the official suite pushes, lists, pulls, queries and deletes, in its order. */
const DATA_SETS: Readonly<Record<string, (data: DataSet) => unknown>> = {
  image: (data) => data.image({ tag: "image" }),
  "image-uncompressed": (data) => data.image({ tag: "image-uncompressed", compress: false }),
  "large-manifest": (data) =>
    data.image({ tag: "large-manifest", annotations: largeAnnotations(390, 10_000) }),
  index: (data) => data.imageIndex({ tag: "index" }),
  "nested-index": (data) =>
    data.index([data.imageIndex(), data.imageIndex()], { tag: "index-of-index" }),
  "empty-index": (data) => data.index([], { tag: "index" }),
  artifact: (data) => data.image({ tag: "artifact", artifact: ARTIFACT }),
  "artifact-index": (data) => data.imageIndex({ tag: "artifact-index", artifact: ARTIFACT }),
  "artifact-without-layers": (data) =>
    data.image({
      tag: "artifact-without-layers",
      artifact: { type: EXAMPLE_1, layer: EMPTY, bytes: Buffer.from("{}"), config: EMPTY },
    }),
  "artifacts-with-subject": (data) => {
    const subject = data.image({ tag: "image" });
    data.image({ subject });
    data.image({ ...REFERRER, subject, tag: "tagged-artifact1" });
    const second = { type: EXAMPLE_2, layer: OCTETS, config: EMPTY };
    data.image({ ...REFERRER, artifact: second, subject, tag: "tagged-artifact2" });
  },
  "index-with-subject": (data) => {
    const subject = data.imageIndex({ tag: "index" });
    data.imageIndex({ ...REFERRER, subject, tag: "tagged-artifact" });
  },
  "missing-subject": (data) => {
    const digest = digestOf(Buffer.from("missing content"));
    const subject = { mediaType: IMAGE, size: 123, digest };
    data.image({ ...REFERRER, subject, tag: "tagged-artifact" });
  },
  "data-field": (data) => data.image({ tag: "data-field", embedData: true }),
  "non-distributable-layers": withheldLayers,
  "custom-fields": (data) => data.imageIndex({ tag: "custom-fields", extraField: true }),
  "no-layers": (data) => data.image({ tag: "no-layers", layers: 0 }),
  sparse: sparse,
  sha512: (data) => data.imageIndex({ algorithm: "sha512" }),
  "tag-param-sha256": (data) => tagByParameter(data, "sha256"),
  "tag-param-sha512": (data) => tagByParameter(data, "sha512"),
  "bad-digest-image": (data) => {
    const { digest } = data.image();
    const bytes = data.manifests.get(digest) ?? new Uint8Array();
    data.manifests.set(digest, Buffer.concat([bytes, Buffer.from("  ")]));
    data.refused.add(digest);
  },
};

/** The names of the data sets; `sparse` is the one that a registry may refuse by default. */
export function dataSetNames(withSparse: boolean): string[] {
  return Object.keys(DATA_SETS).filter((name) => withSparse || name !== "sparse");
}

/** New random content for the data set of this name. */
export function makeDataSet(name: string): DataSet {
  const data = new DataSet();
  DATA_SETS[name]?.(data);
  return data;
}

function largeAnnotations(count: number, bytes: number): Record<string, string> {
  const value = "A".repeat(bytes);
  return Object.fromEntries(
    Array.from({ length: count }, (_, i) => [`large-annotation-${i}`, value]),
  );
}

function tagByParameter(data: DataSet, algorithm: Algorithm): void {
  const tag = `tag-param-${algorithm}`;
  data.imageIndex({ algorithm, tag });
  for (const [i, digest] of [...data.manifests.keys()].entries()) {
    data.tags.set(`${tag}-${i}`, digest);
  }
  data.tagByParameter = true;
}

function withheldLayers(data: DataSet): void {
  const withheld = (mediaType: string, size: number): Descriptor => {
    const digest = digestOf(randomBytes(256));
    return { mediaType, digest, size, urls: [`https://store.example.com/blobs/${digest}`] };
  };
  const first = withheld(LAYER_WITHHELD_GZIP, 123_456);
  const second = withheld(LAYER_WITHHELD, 12_345);
  const { descriptor, diffId } = data.layer();
  const config = data.config(AMD64, [digestOf(randomBytes(256)), second.digest, diffId]);
  data.manifest(config, [first, second, descriptor], { tag: "non-distributable-image" });
}

function sparse(data: DataSet): void {
  const config = data.config(AMD64, []);
  const { descriptor } = data.layer();
  const absent = { mediaType: LAYER_GZIP, digest: digestOf(randomBytes(256)), size: 256 };
  data.manifest(config, [absent, descriptor], { tag: "sparse-image" });
  const present = { ...data.image(), platform: AMD64 };
  const digest = digestOf(randomBytes(1024));
  const missing = { mediaType: IMAGE, digest, size: 1024, platform: ARM64 };
  data.index([present, missing], { tag: "sparse-index" });
}
