import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import {
  DOCKER_LIST,
  DOCKER_MANIFEST,
  isForeignLayer,
  isImageType,
  isIndexType,
  isManifestType,
  OCI_INDEX,
  OCI_MANIFEST,
  parseMediaType,
} from "./media-type.ts";

const KNOWN = [OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST];

describe("the media type of a Content-Type", () => {
  const token = fc
    .tuple(
      fc.constantFrom(...Array.from("abzABZ019")),
      fc.string({ unit: fc.constantFrom(...Array.from("abzABZ019!#$&^_.+-")), maxLength: 126 }),
    )
    .map((parts) => parts.join(""));

  test("is what stands before its parameters", () => {
    const parameters = fc.constantFrom("", ";", "; charset=utf-8", ' ;a="b;c"', ";;;");
    fc.assert(
      fc.property(token, token, parameters, (type, subtype, rest) => {
        expect(parseMediaType(`${type}/${subtype}${rest}`)).toBe(`${type}/${subtype}`);
      }),
    );
  });

  test.each([
    null,
    "",
    ";",
    "application",
    "application/",
    "/json",
    "a/b/c",
    "a /b",
    "a/b c",
    "a/b\r\nX: y",
    "a/+b",
    "*/*",
    "a/é",
    `a/${"b".repeat(128)}`,
    "a/b, c/d",
  ])("%j has none", (header) => expect(parseMediaType(header)).toBeUndefined());

  test("is fit to be a header, whatever was sent", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        for (const header of [text, `application/${text}+json`]) {
          const type = parseMediaType(header);
          if (type !== undefined) expect(type).toMatch(/^[\x21-\x7e]+$/);
        }
      }),
      { numRuns: 1000 },
    );
  });
});

describe("a manifest's media type", () => {
  test.each([...KNOWN, "application/vnd.oci.artifact.manifest.v1+json", "application/x+json"])(
    "may be %p",
    (type) => expect(isManifestType(type)).toBe(true),
  );

  test.each([
    "",
    "application/json",
    "text/x+json",
    "application/octet-stream",
    "application/vnd.docker.distribution.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
    "application/+json",
    "application/a b+json",
    "application/a\r\nSet-Cookie: b+json",
    "application/é+json",
    `application/${"a".repeat(200)}+json`,
    "application/x+json; charset=utf-8",
  ])("is not %j", (type) => expect(isManifestType(type)).toBe(false));

  test("is always fit to be a header", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (noise) => {
        const type = `application/${noise}+json`;
        if (isManifestType(type)) expect(type).toMatch(/^[\x21-\x7e]+$/);
      }),
      { numRuns: 1000 },
    );
  });
});

test("each known type is an image or an index", () => {
  expect(KNOWN.map(isImageType)).toEqual([true, false, true, false]);
  expect(KNOWN.map(isIndexType)).toEqual([false, true, false, true]);
});

test.each([
  ["application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", true],
  ["application/vnd.oci.image.layer.nondistributable.v1.tar", true],
  ["application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", true],
  ["application/vnd.oci.image.layer.v1.tar+gzip", false],
  ["application/vnd.docker.image.rootfs.diff.tar.gzip", false],
])("layer %p is held elsewhere: %p", (type, foreign) => expect(isForeignLayer(type)).toBe(foreign));
