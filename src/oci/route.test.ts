import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import { OciError, type ErrorCode } from "./errors.ts";
import { parseName } from "./name.ts";
import { parseReference, parseRoute, type Route } from "./route.ts";

const D256 = `sha256:${"0a".repeat(32)}`;
const D512 = `sha512:${"0a".repeat(64)}`;
/** Names made of the API's own words. */
const WORDS = ["blobs", "manifests", "tags", "uploads", "list", "referrers", "v2", "a"];
const name = fc
  .array(fc.constantFrom(...WORDS), { minLength: 1, maxLength: 6 })
  .map((w) => w.join("/"));
const digest = fc.constantFrom(D256, D512);
const reference = fc.oneof(digest, fc.constantFrom(...WORDS, "latest", "v1.0-rc_1"));
const id = fc.oneof(
  fc.constantFrom(...WORDS),
  fc.base64String({ minLength: 1 }).map((s) => s.replaceAll(/[+/=]/g, "x")),
);

/** What a path is parsed to, errors as their code; anything else that is thrown is a failure. */
function outcome(path: string): Route | ErrorCode | undefined {
  try {
    return parseRoute(path);
  } catch (error) {
    if (error instanceof OciError) return error.code;
    throw error;
  }
}

/** Escapes a random choice of characters, those of `keep` never. */
const escaped = (text: string, keep: string) =>
  fc.array(fc.boolean(), { minLength: text.length, maxLength: text.length }).map((flags) =>
    Array.from(text)
      .map((c, i) =>
        flags[i] === true && !keep.includes(c)
          ? `%${c.charCodeAt(0).toString(16).padStart(2, "0")}`
          : c,
      )
      .join(""),
  );

describe("a path", () => {
  const route = fc.oneof(
    fc
      .tuple(name, digest)
      .map(([name, digest]): [string, unknown] => [
        `/v2/${name}/blobs/${digest}`,
        { kind: "blob", template: "/v2/{name}/blobs/{digest}", name, digest },
      ]),
    fc
      .tuple(name, reference)
      .map(([name, reference]): [string, unknown] => [
        `/v2/${name}/manifests/${reference}`,
        { kind: "manifest", template: "/v2/{name}/manifests/{reference}", name, reference },
      ]),
    fc
      .tuple(name, fc.constantFrom("", "/"))
      .map(([name, slash]): [string, unknown] => [
        `/v2/${name}/blobs/uploads${slash}`,
        { kind: "uploads", template: "/v2/{name}/blobs/uploads/", name },
      ]),
    fc
      .tuple(name, id)
      .map(([name, id]): [string, unknown] => [
        `/v2/${name}/blobs/uploads/${id}`,
        { kind: "upload", template: "/v2/{name}/blobs/uploads/{id}", name, id },
      ]),
    name.map((name): [string, unknown] => [
      `/v2/${name}/tags/list`,
      { kind: "tags", template: "/v2/{name}/tags/list", name },
    ]),
    fc
      .tuple(name, digest)
      .map(([name, digest]): [string, unknown] => [
        `/v2/${name}/referrers/${digest}`,
        { kind: "referrers", template: "/v2/{name}/referrers/{digest}", name, digest },
      ]),
  );

  test("is matched from its right end, whatever words its name is made of", () => {
    fc.assert(
      fc.property(route, ([path, expected]) => expect(outcome(path) as unknown).toEqual(expected)),
      { numRuns: 1000 },
    );
  });

  test("means the same with any of its characters percent-encoded but its slashes", () => {
    const both = route.chain(([path, expected]) =>
      fc.tuple(
        escaped(path.slice(4), "/").map((rest) => `/v2/${rest}`),
        fc.constant(expected),
      ),
    );
    fc.assert(
      fc.property(both, ([path, expected]) => expect(outcome(path) as unknown).toEqual(expected)),
      { numRuns: 1000 },
    );
  });

  test.each([
    ["/v2", "ping"],
    ["/v2/", "ping"],
    ["/v2/_catalog", "catalog"],
    ["/v2/_catalog/", "catalog"],
    [`/v2/a/blobs/sha256%3A${"0a".repeat(32)}`, "blob"],
    ["/v2/a/blobs/uploads", "uploads"],
    ["/v2/blobs/blobs/uploads/", "uploads"],
    ["/v2/blobs/uploads/blobs/uploads/uploads", "upload"],
    ["/v2/blobs/uploads/manifests/uploads", "manifest"],
    ["/v2/blobs/uploads/tags/list", "tags"],
    ["/v2/manifests/manifests/manifests", "manifest"],
    ["/v2/tags/list/tags/list", "tags"],
    ["/v2/a/manifests/", "manifest"],
  ])("%p is %p", (path, kind) => expect(outcome(path)).toMatchObject({ kind }));

  test.each([
    "",
    "/",
    "/v1/",
    "/v2a",
    "v2/",
    "//v2/",
    "/v2//",
    "/V2/",
    "/v2/a",
    "/v2/_catalog/x",
    "/v2/a/_catalog",
    "/v2/tags/list",
    "/v2/blobs/uploads/",
    "/v2/blobs/uploads/x",
    `/v2/blobs/${D256}`,
    "/v2/manifests/latest",
    "/v2/a/tags/lists",
    "/v2/a/tags/list/",
    "/v2/a/tags/list/x",
    `/v2/a/blobs/${D256}/`,
    `/v2/a/blobs/${D256}/x`,
    "/v2/a/manifests/latest/",
    "/v2/a/manifests/x%2fy/",
    "/v2/a%2Fmanifests/latest",
    "/v2/a/manifests%2Flatest",
    "/v2/a/manifests/%",
    "/v2/a/manifests/%zz",
    "/v2/a/manifests/%e2%82",
    "/v2/a/manifests/%ff",
    "/healthz",
  ])("%p addresses nothing", (path) => expect(outcome(path)).toBeUndefined());

  test.each([
    "/v2//manifests/x",
    "/v2//a/manifests/x",
    "/v2/a//b/manifests/x",
    "/v2/./manifests/x",
    "/v2/../manifests/x",
    "/v2/a/../b/manifests/x",
    "/v2/a/%2e%2e/b/manifests/x",
    "/v2/%2e/tags/list",
    "/v2/A/tags/list",
    "/v2/a%2Fb/tags/list",
    "/v2/a%2fb/manifests/x",
    "/v2/a%252Fb/tags/list",
    "/v2/a%00/tags/list",
    "/v2/a%21x/tags/list",
    "/v2/a!x/tags/list",
    "/v2/a%5Cb/tags/list",
    "/v2/a#/tags/list",
    "/v2/%C3%A9/tags/list",
    `/v2/${"a".repeat(256)}/tags/list`,
    "/v2/a/blobs//uploads/",
    "/v2/_oci/ext/tags/list",
  ])("%p names no repository", (path) => {
    const found = outcome(path);
    expect(found === "NAME_INVALID" || found === undefined).toBe(true);
    if (path !== "/v2/a/blobs//uploads/") expect(found).toBe("NAME_INVALID");
  });

  test.each([
    "/v2/a/blobs/",
    "/v2/a/blobs/x",
    "/v2/a/blobs/..",
    "/v2/a/blobs/sha256:abc",
    `/v2/a/blobs/sha256%253A${"0a".repeat(32)}`,
    `/v2/a/blobs/${D256}%0a`,
    `/v2/a/blobs/${D256}%2f`,
    `/v2/a/referrers/${D256.toUpperCase()}`,
    "/v2/a/referrers/latest",
    "/v2/a/referrers/",
  ])("%p names no content", (path) => expect(outcome(path)).toBe("DIGEST_INVALID"));

  test("makes it throw nothing but NAME_INVALID and DIGEST_INVALID, and yields checked parts only", () => {
    const piece = fc.oneof(
      fc.constantFrom(...WORDS, D256, "", ".", "..", "%2e%2e", "%2F", "%", "%00", "_catalog", "A"),
      fc.string({ unit: "binary", maxLength: 6 }),
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 8 }), (pieces) => {
        const found = outcome(`/v2/${pieces.join("/")}`);
        if (typeof found === "string") {
          return expect(["NAME_INVALID", "DIGEST_INVALID"]).toContain(found);
        }
        if (found !== undefined && "name" in found) {
          expect(parseName(found.name)).toBe(found.name);
        }
      }),
      { numRuns: 5000 },
    );
  });

  test("of many parts costs no more than its length", () => {
    outcome(`/v2/${"a/".repeat(2 ** 20)}tags/list`);
    outcome(`/v2/${"%61".repeat(2 ** 18)}/tags/list`);
  });

  test("repeats no more than 256 characters of what was wrong", () => {
    for (const path of [`/v2/${"A".repeat(9999)}/tags/list`, `/v2/a/blobs/${"x".repeat(9999)}`]) {
      try {
        parseRoute(path);
        throw new Error("was taken");
      } catch (error) {
        expect(JSON.stringify(error).length).toBeLessThan(600);
      }
    }
  });
});

describe("a reference", () => {
  test("is a digest or a tag", () => {
    expect(parseReference(D512)).toMatchObject({ kind: "digest", digest: D512 });
    expect(parseReference("v1.0")).toMatchObject({ kind: "tag", tag: "v1.0" });
    for (const text of ["", ".a", "a/b", "a%2fb", "a".repeat(129), "a\n"]) {
      expect(parseReference(text)).toBeUndefined();
    }
  });

  test("with a colon can only be meant as a digest", () => {
    for (const text of [":", "sha256:bad", "latest:1", `${D256} `, `sha384:${"a".repeat(96)}`]) {
      expect(() => parseReference(text)).toThrow(OciError);
    }
  });

  test("is one or the other, or refused, whatever is sent", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        try {
          const found = parseReference(text);
          if (found !== undefined)
            expect<string>(found.kind === "tag" ? found.tag : found.digest).toBe(text);
        } catch (error) {
          expect(error).toBeInstanceOf(OciError);
          expect(text).toContain(":");
        }
      }),
      { numRuns: 1000 },
    );
  });
});
