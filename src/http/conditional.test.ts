import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import { isNotModified, parseEtags, preconditionOf, rangeApplies } from "./conditional.ts";

const A = `sha256:${"a".repeat(64)}`;
const B = `sha256:${"b".repeat(64)}`;
const tag = fc.constantFrom(A, B, "x", "y-z_1");

describe("a list of ETags", () => {
  test("reads back, quoted, weak or bare, with any spaces between", () => {
    const written = (tag: string) => fc.constantFrom(`"${tag}"`, `W/"${tag}"`, tag);
    const list = fc.array(
      tag.chain((tag) => fc.tuple(fc.constant(tag), written(tag))),
      { minLength: 1, maxLength: 5 },
    );
    fc.assert(
      fc.property(list, fc.constantFrom(",", ", ", " ,\t"), (list, comma) => {
        const header = list.map(([, text]) => text).join(comma);
        expect(parseEtags(header)).toEqual(list.map(([tag]) => tag));
      }),
    );
  });

  test("is missing, or means anything", () => {
    expect(parseEtags(null)).toBeUndefined();
    expect(parseEtags(" * ")).toBe("*");
    expect(parseEtags('"*"')).toEqual(["*"]);
  });

  test("is read from any header without throwing", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        const tags = parseEtags(text);
        expect(tags === "*" || Array.isArray(tags)).toBe(true);
      }),
    );
    parseEtags('"'.repeat(2 ** 20));
    parseEtags(",".repeat(2 ** 20));
  });
});

describe("conditions", () => {
  const headers = (init: Record<string, string>) => new Headers(init);

  test.each([
    [{}, false],
    [{ "If-None-Match": `"${A}"` }, true],
    [{ "If-None-Match": A }, true],
    [{ "If-None-Match": `W/"${A}"` }, true],
    [{ "If-None-Match": `"${B}", "${A}"` }, true],
    [{ "If-None-Match": "*" }, true],
    [{ "If-None-Match": `"${B}"` }, false],
    [{ "If-None-Match": "" }, false],
    [{ "If-None-Match": `"${A}x"` }, false],
    [{ "If-Match": `"${A}"` }, false],
  ])("%j: the client has it: %p", (init, expected) => {
    expect(isNotModified(headers(init as Record<string, string>), A)).toBe(expected);
  });

  test.each([
    [{}, true],
    [{ "If-Range": `"${A}"` }, true],
    [{ "If-Range": A }, true],
    [{ "If-Range": `"${B}"` }, false],
    [{ "If-Range": "*" }, false],
    [{ "If-Range": "" }, false],
    [{ "If-Range": "Wed, 21 Oct 2026 07:28:00 GMT" }, false],
  ])("%j: a part may be sent: %p", (init, expected) => {
    expect(rangeApplies(headers(init as Record<string, string>), A)).toBe(expected);
  });

  test("of a push are those that were sent", () => {
    expect(preconditionOf(headers({}))).toEqual({});
    expect(preconditionOf(headers({ "If-None-Match": "*" }))).toEqual({ ifNoneMatch: "*" });
    expect(preconditionOf(headers({ "If-Match": `"${A}", "${B}"` }))).toEqual({ ifMatch: [A, B] });
    // An empty list is a condition that nothing fulfils, not the lack of one.
    expect(preconditionOf(headers({ "If-Match": "" }))).toEqual({ ifMatch: [""] });
  });
});
