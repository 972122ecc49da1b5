import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import { OciError } from "./errors.ts";
import { parseManifest, type Manifest } from "./manifest.ts";
import { DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST } from "./media-type.ts";

const LIMITS = { jsonDepth: 16, descriptors: 50 };
const LAYER = "application/vnd.oci.image.layer.v1.tar+gzip";
const digest = (n: number) => `sha256:${n.toString(16).padStart(64, "0")}`;
const descriptor = (n: number, more: object = {}) => ({
  mediaType: LAYER,
  digest: digest(n),
  size: n,
  ...more,
});
const CONFIG = descriptor(1, { mediaType: "application/vnd.oci.image.config.v1+json" });
const image = (more: object = {}) => ({
  schemaVersion: 2,
  mediaType: OCI_MANIFEST,
  config: CONFIG,
  layers: [descriptor(2), descriptor(3)],
  ...more,
});
const index = (more: object = {}) => ({
  schemaVersion: 2,
  mediaType: OCI_INDEX,
  manifests: [descriptor(4, { mediaType: OCI_MANIFEST })],
  ...more,
});
const without = (value: object, ...fields: string[]) =>
  Object.fromEntries(Object.entries(value).filter(([key]) => !fields.includes(key)));

function parse(value: unknown, contentType?: string): Manifest {
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return parseManifest(new TextEncoder().encode(text), contentType, LIMITS);
}

/** The field that is named in the refusal, or its message where none is. */
function refusal(value: unknown, contentType?: string): string {
  try {
    parse(value, contentType);
  } catch (error) {
    if (!(error instanceof OciError)) throw error;
    expect([error.code, error.status]).toEqual(["MANIFEST_INVALID", 400]);
    const { field } = (error.detail ?? {}) as { field?: string };
    if (field !== undefined) expect(error.message).toContain(field);
    return field ?? error.message;
  }
  throw new Error("was taken");
}

const digests = (list: readonly { digest: string }[]) => list.map((d) => d.digest);

describe("an image manifest", () => {
  test.each([OCI_MANIFEST, DOCKER_MANIFEST])("%p holds its config and layers", (mediaType) => {
    const parsed = parse(image({ mediaType, annotations: { a: "", b: "c" } }), mediaType);
    expect(parsed.mediaType).toBe(mediaType);
    expect(digests(parsed.blobs)).toEqual([digest(1), digest(2), digest(3)]);
    expect(parsed.manifests).toEqual([]);
    expect(parsed.subject).toBeUndefined();
    expect(parsed.artifactType).toBe(CONFIG.mediaType);
    expect(parsed.annotations).toEqual({ a: "", b: "c" });
  });

  test("has its type from the header, from itself, or is OCI's", () => {
    expect(parse(image(), OCI_MANIFEST).mediaType).toBe(OCI_MANIFEST);
    expect(parse(without(image(), "mediaType"), DOCKER_MANIFEST).mediaType).toBe(DOCKER_MANIFEST);
    expect(parse(image({ mediaType: DOCKER_MANIFEST })).mediaType).toBe(DOCKER_MANIFEST);
    expect(parse(without(image(), "mediaType")).mediaType).toBe(OCI_MANIFEST);
  });

  test("may have no layers: an empty list, or Go's null for one", () => {
    expect(digests(parse(image({ layers: [] })).blobs)).toEqual([digest(1)]);
    expect(digests(parse(image({ layers: null })).blobs)).toEqual([digest(1)]);
  });

  test("keeps fields nobody knows to itself, whatever they hold", () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const custom = image({ "org.example.custom": value, blobs: value, urls: value });
        expect(digests(parse(custom).blobs)).toEqual([digest(1), digest(2), digest(3)]);
        const child = image({ layers: [descriptor(2, { "x-custom": value, data: value })] });
        expect(digests(parse(child).blobs)).toEqual([digest(1), digest(2)]);
      }),
    );
  });

  test("shows its own artifact type, else its config's; an empty one counts as none", () => {
    expect(parse(image({ artifactType: "a/b" })).artifactType).toBe("a/b");
    expect(parse(image({ artifactType: "" })).artifactType).toBe(CONFIG.mediaType);
    const empty = descriptor(1, { mediaType: "" });
    expect(parse(image({ config: empty })).artifactType).toBeUndefined();
  });

  test("does not need its non-distributable layers", () => {
    const layers = [
      descriptor(2, { mediaType: "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip" }),
      descriptor(3),
      descriptor(4, { mediaType: "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip" }),
    ];
    expect(digests(parse(image({ layers })).blobs)).toEqual([digest(1), digest(3)]);
  });

  test("may refer to content in algorithms that cannot be computed here", () => {
    const blake = `blake3:${"ab".repeat(32)}`;
    const odd = "multihash+base58:QmRZxt2b1FVZPNqd8hsiykDL3TdBDeTSPX9Kv46HmX4Gx8";
    const layers = [descriptor(2, { digest: blake }), descriptor(3, { digest: odd })];
    expect(digests(parse(image({ layers })).blobs)).toEqual([digest(1), blake, odd]);
  });

  test.each<[string, object, string]>([
    ["no config", without(image(), "config"), "config"],
    ["a null config", image({ config: null }), "config"],
    ["a list for a config", image({ config: [CONFIG] }), "config"],
    ["no layers", without(image(), "layers"), "layers"],
    ["an object for layers", image({ layers: {} }), "layers"],
    ["a layer that is none", image({ layers: [descriptor(2), "x"] }), "layers[1]"],
    ["a null layer", image({ layers: [null] }), "layers[0]"],
    ["manifests", image({ manifests: [] }), "manifests"],
    ["null manifests", image({ manifests: null }), "manifests"],
    ["schema version 1", image({ schemaVersion: 1 }), "schemaVersion"],
    ["schema version '2'", image({ schemaVersion: "2" }), "schemaVersion"],
    ["no schema version", without(image(), "schemaVersion"), "schemaVersion"],
    ["a number for its type", image({ mediaType: 7 }), "mediaType"],
    ["a number for its artifact type", image({ artifactType: 7 }), "artifactType"],
    ["a list for annotations", image({ annotations: [] }), "annotations"],
    ["a text for annotations", image({ annotations: "a" }), "annotations"],
    ["a number among annotations", image({ annotations: { a: "b", c: 1 } }), 'annotations["c"]'],
    ["a null annotation", image({ annotations: { c: null } }), 'annotations["c"]'],
    ["a subject that is none", image({ subject: digest(1) }), "subject"],
    [
      "a subject without digest",
      image({ subject: without(descriptor(1), "digest") }),
      "subject.digest",
    ],
  ])("is refused with %s", (_, value, field) => expect(refusal(value, OCI_MANIFEST)).toBe(field));
});

describe("an index", () => {
  test.each([OCI_INDEX, DOCKER_LIST])("%p holds its children", (mediaType) => {
    const parsed = parse(index({ mediaType }), mediaType);
    expect(digests(parsed.manifests)).toEqual([digest(4)]);
    expect(parsed.blobs).toEqual([]);
    expect(parsed.artifactType).toBeUndefined();
  });

  test("is known by its manifests where nobody says what it is", () => {
    expect(parse(without(index(), "mediaType")).mediaType).toBe(OCI_INDEX);
  });

  test("may be empty, nested, and hold blobs, as BuildKit's cache does", () => {
    expect(parse(index({ manifests: [] })).manifests).toEqual([]);
    expect(parse(index({ manifests: null })).manifests).toEqual([]);
    const manifests = [
      descriptor(1, { mediaType: OCI_INDEX }),
      descriptor(2),
      descriptor(3, { mediaType: "application/vnd.buildkit.cacheconfig.v0" }),
      descriptor(4, { mediaType: "no type at all" }),
    ];
    expect(digests(parse(index({ manifests })).manifests)).toEqual([1, 2, 3, 4].map(digest));
  });

  test("may have subject, artifact type and annotations", () => {
    const more = { subject: descriptor(9), artifactType: "a/b", annotations: { x: "y" } };
    const parsed = parse(index(more));
    expect(parsed.subject?.digest).toBe(digest(9));
    expect(parsed.artifactType).toBe("a/b");
    expect(parsed.annotations).toEqual({ x: "y" });
    expect(parse(index({ artifactType: "" })).artifactType).toBeUndefined();
  });

  test("keeps its children's artifact types", () => {
    const manifests = [descriptor(1, { artifactType: "a/b" }), descriptor(2, { artifactType: 3 })];
    expect(parse(index({ manifests })).manifests).toEqual([
      descriptor(1, { artifactType: "a/b" }),
      descriptor(2),
    ]);
  });

  test.each<[string, object, string]>([
    ["no manifests", without(index(), "manifests"), "manifests"],
    ["layers (CVE-2021-41190)", index({ layers: [] }), "layers"],
    ["null layers", index({ layers: null }), "layers"],
    ["a config", index({ config: CONFIG }), "config"],
    ["an object for manifests", index({ manifests: {} }), "manifests"],
    ["a child that is none", index({ manifests: [[]] }), "manifests[0]"],
    ["no schema version", without(index(), "schemaVersion"), "schemaVersion"],
  ])("is refused with %s", (_, value, field) => expect(refusal(value, OCI_INDEX)).toBe(field));
});

describe("a document of both kinds", () => {
  const both = { ...image(), ...index() };
  test.each([OCI_MANIFEST, DOCKER_MANIFEST, OCI_INDEX, DOCKER_LIST])(
    "is refused as %p and without a type",
    (mediaType) => {
      expect(refusal({ ...both, mediaType }, mediaType)).toMatch(/^(manifests|layers|config)$/);
      expect(refusal(without(both, "mediaType"), mediaType)).toMatch(/^(manifests|layers|config)$/);
      expect(refusal(without(both, "mediaType"))).toMatch(/^(manifests|layers|config)$/);
    },
  );
});

describe("a manifest of a type not known here", () => {
  const TYPE = "application/vnd.example.thing.v1+json";
  test("is taken as it is", () => {
    const parsed = parse({ anything: [1, { b: null }] }, TYPE);
    expect(parsed).toEqual({
      mediaType: TYPE,
      blobs: [],
      manifests: [],
      subject: undefined,
      artifactType: undefined,
      annotations: {},
    });
  });

  test("needs what it refers to, in the withdrawn artifact manifest's field as well", () => {
    const artifact = {
      mediaType: "application/vnd.oci.artifact.manifest.v1+json",
      artifactType: "a/b",
      blobs: [descriptor(1)],
      subject: descriptor(2),
    };
    const parsed = parse(artifact);
    expect(digests(parsed.blobs)).toEqual([digest(1)]);
    expect(parsed.subject?.digest).toBe(digest(2));
    expect(parsed.artifactType).toBe("a/b");
  });

  test.each([
    "application/json",
    "text/plain",
    "application/vnd.docker.distribution.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
    "application/a\r\nX-Evil: b+json",
    "",
  ])("is refused when it is %j", (type) => {
    expect(refusal({ mediaType: type })).toBe("mediaType");
    expect(refusal({}, type)).toBe("mediaType");
  });
});

describe("the type that is sent and the type inside", () => {
  test("have to be the same", () => {
    expect(refusal(image(), DOCKER_MANIFEST)).toBe("mediaType");
    expect(refusal(index(), OCI_MANIFEST)).toBe("mediaType");
    expect(refusal(image({ mediaType: "" }), OCI_MANIFEST)).toBe("mediaType");
  });
});

describe("a descriptor", () => {
  const layer = (more: object) => image({ layers: [descriptor(2, more)] });

  test.each<[string, unknown, boolean]>([
    ["0", 0, true],
    ["the largest safe number", Number.MAX_SAFE_INTEGER, true],
    ["-1", -1, false],
    ["1.5", 1.5, false],
    ["2^53", 2 ** 53, false],
    ["1e300", 1e300, false],
    ["a text", "5", false],
    ["null", null, false],
    ["nothing", undefined, false],
  ])("of size %s", (_, size, taken) => {
    if (taken) expect(parse(layer({ size })).blobs[1]?.size).toBe(size as number);
    else expect(refusal(layer({ size }))).toBe("layers[0].size");
  });

  test.each([
    undefined,
    null,
    1,
    "",
    "sha256",
    "sha256:abc",
    digest(1).toUpperCase(),
    `${digest(1)}!`,
    `sha512:${"a".repeat(64)}`,
    "a:b/c",
  ])("of digest %j is refused", (value) => {
    expect(refusal(layer({ digest: value }))).toBe("layers[0].digest");
  });

  test.each([undefined, null, 1, {}])("of type %j is refused", (mediaType) => {
    expect(refusal(layer({ mediaType }))).toBe("layers[0].mediaType");
  });

  test("has annotations that are texts", () => {
    expect(parse(layer({ annotations: { a: "b" } })).blobs).toHaveLength(2);
    expect(refusal(layer({ annotations: { a: 1 } }))).toBe('layers[0].annotations["a"]');
  });

  test("counts, whatever its kind, but for the subject", () => {
    const many = (count: number) => Array.from({ length: count }, (_, i) => descriptor(i));
    expect(parse(image({ layers: many(49), subject: descriptor(1) })).blobs).toHaveLength(50);
    expect(refusal(image({ layers: many(50) }))).toBe("layers");
    expect(parse(index({ manifests: many(50) })).manifests).toHaveLength(50);
    expect(refusal(index({ manifests: many(51) }))).toBe("layers");
    const foreign = many(50).map((d) => ({ ...d, mediaType: "a/b.foreign.c" }));
    expect(refusal(image({ layers: foreign }))).toBe("layers");
  });
});

describe("bytes that are no manifest", () => {
  test.each(["", " ", "null", "1", '"x"', "[]", "[{}]", "{", "{}}", "{'a':1}", "{,}", "﻿{}"])(
    "%j are refused",
    (text) => expect(refusal(text, OCI_MANIFEST)).toContain("manifest invalid"),
  );

  test("are refused when a key occurs twice, at any depth and however it is spelled", () => {
    const text = JSON.stringify(image());
    expect(refusal(text.replace("{", '{"config":{},'))).toContain('"config" occurs twice');
    expect(refusal(text.replace('"size":2', '"size":2,"\\u0073ize":3'))).toContain("occurs twice");
  });

  test("are refused when nested too deep", () => {
    const deep = (levels: number) => `${"[".repeat(levels)}${"]".repeat(levels)}`;
    const of = (levels: number) =>
      JSON.stringify(image({ x: 0 })).replace('"x":0', `"x":${deep(levels)}`);
    expect(parse(of(15)).blobs).toHaveLength(3);
    expect(refusal(of(16))).toContain("nested deeper than 16");
  });

  test("are refused with MANIFEST_INVALID and nothing else", () => {
    const field = fc.constantFrom(
      "schemaVersion",
      "mediaType",
      "config",
      "layers",
      "manifests",
      "subject",
      "annotations",
      "artifactType",
      "digest",
      "size",
      "__proto__",
      "constructor",
    );
    const leaf = fc.oneof(
      fc.jsonValue(),
      fc.constantFrom<unknown>(2, OCI_MANIFEST, OCI_INDEX, CONFIG, [CONFIG], digest(1), {}, []),
    );
    const mutated = fc
      .tuple(fc.constantFrom(image(), index()), fc.array(fc.tuple(field, leaf), { maxLength: 3 }))
      .map(([base, changes]) => ({ ...base, ...Object.fromEntries(changes) }));
    const type = fc.constantFrom(undefined, OCI_MANIFEST, OCI_INDEX, "application/x+json", "a/b");
    fc.assert(
      fc.property(fc.oneof(mutated, leaf), type, (value, contentType) => {
        try {
          const parsed = parse(JSON.stringify(value), contentType);
          for (const { size } of [...parsed.blobs, ...parsed.manifests])
            expect(size).toBeGreaterThanOrEqual(0);
        } catch (error) {
          expect(error).toBeInstanceOf(OciError);
          expect((error as OciError).code).toBe("MANIFEST_INVALID");
        }
      }),
      { numRuns: 3000 },
    );
    fc.assert(
      fc.property(fc.uint8Array(), (bytes) => {
        expect(() => parseManifest(bytes, OCI_MANIFEST, LIMITS)).toThrow(OciError);
      }),
    );
  });

  test("are not repeated at length in the refusal", () => {
    const long = "x".repeat(1_000_000);
    for (const value of [
      image({ mediaType: long }),
      image({ annotations: { [long]: 1 } }),
      `{"${long}":1,"${long}":1}`,
      long,
    ]) {
      try {
        parse(value, undefined);
        throw new Error("was taken");
      } catch (error) {
        expect(error).toBeInstanceOf(OciError);
        expect(JSON.stringify(error).length).toBeLessThan(2000);
      }
    }
  });
});

test("names that every object has are no fields", () => {
  const parsed = parse('{"schemaVersion":2,"manifests":[],"__proto__":{"layers":[],"config":1}}');
  expect(parsed.mediaType).toBe(OCI_INDEX);
  const named = parse(
    `{"schemaVersion":2,"manifests":[],"annotations":{"__proto__":"a","constructor":"b"}}`,
  );
  expect(Object.entries(named.annotations)).toEqual([
    ["__proto__", "a"],
    ["constructor", "b"],
  ]);
});
