import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import { NAME_MAX, parseName, parseTag } from "./name.ts";

const alnum = "abcdefghijklmnopqrstuvwxyz0123456789";
const word = fc.string({ unit: fc.constantFrom(...Array.from(alnum)), minLength: 1, maxLength: 8 });
const separator = fc.oneof(
  fc.constantFrom(".", "_", "__"),
  fc.integer({ min: 1, max: 5 }).map((n) => "-".repeat(n)),
);
const component = fc
  .tuple(word, fc.array(fc.tuple(separator, word), { maxLength: 2 }))
  .map(([first, more]) => first + more.flat().join(""));
const name = fc
  .array(component, { minLength: 1, maxLength: 5 })
  .map((parts) => parts.join("/"))
  .filter((text) => text.length <= NAME_MAX);

/** The grammar again, by hand: distribution-spec §Pulling manifests. */
function isName(text: string): boolean {
  if (text.length > NAME_MAX) return false;
  return text.split("/").every((part) => {
    const separators = part.split(/[a-z0-9]+/);
    return (
      part !== "" &&
      separators.length > 1 &&
      separators[0] === "" &&
      separators.at(-1) === "" &&
      separators
        .slice(1, -1)
        .every((s) => s === "." || s === "_" || s === "__" || (s !== "" && !s.replaceAll("-", "")))
    );
  });
}

describe("a repository name", () => {
  test("that the grammar makes is taken as it is", () => {
    fc.assert(fc.property(name, (text) => expect<string | undefined>(parseName(text)).toBe(text)));
  });

  test("is what the grammar allows and nothing else", () => {
    const nearly = fc.string({
      unit: fc.constantFrom(...Array.from("ab0._-/A!%~ ")),
      maxLength: 12,
    });
    fc.assert(
      fc.property(fc.oneof(nearly, fc.string({ unit: "binary" })), (text) => {
        expect(parseName(text) !== undefined).toBe(isName(text));
      }),
      { numRuns: 5000 },
    );
  });

  test.each(["a", "a/b", "a-b", "a.b", "a_b", "a__b", "a---b", "0/1/2", "blobs/uploads", "tags"])(
    "may be %j",
    (text) => expect(parseName(text)).toBeDefined(),
  );

  test.each([
    "",
    "/",
    "/a",
    "a/",
    "a//b",
    ".",
    "..",
    "a/../b",
    "../a",
    "./a",
    "a/.",
    "-a",
    "a-",
    "_a",
    "a_",
    "a..b",
    "a___b",
    "a._b",
    "a.-b",
    "a-_b",
    "A",
    "aB",
    "a b",
    "a\n",
    "a\0",
    "a!x",
    "a:5000/b",
    "a@b",
    "a%2fb",
    "a\\b",
    "é",
    "ａ",
    "_catalog",
  ])("is not %j", (text) => expect(parseName(text)).toBeUndefined());

  test("has at most 255 characters", () => {
    expect(parseName("a".repeat(255))).toBeDefined();
    expect(parseName("a".repeat(256))).toBeUndefined();
    expect(parseName("a/".repeat(127) + "a")).toBeDefined();
    expect(parseName("a/".repeat(127) + "aa")).toBeUndefined();
  });
});

describe("a tag", () => {
  const first = "ABCXYZabcxyz0189_";
  test("is what the grammar allows and nothing else", () => {
    const head = fc.constantFrom(...Array.from(first));
    const tail = fc.string({
      unit: fc.constantFrom(...Array.from(first), ".", "-"),
      maxLength: 127,
    });
    fc.assert(
      fc.property(head, tail, (h, t) => expect<string | undefined>(parseTag(h + t)).toBe(h + t)),
    );
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 4 }), (text) => {
        const allowed = Array.from(text).every((c) => /[a-zA-Z0-9._-]/.test(c));
        const expected = text !== "" && allowed && !text.startsWith(".") && !text.startsWith("-");
        expect(parseTag(text) !== undefined).toBe(expected);
      }),
      { numRuns: 2000 },
    );
  });

  test.each(["", ".", "..", "-a", ".a", "a/b", "a:b", "a+b", "a b", "a\n", "a!", "é", "a%20"])(
    "is not %j",
    (text) => expect(parseTag(text)).toBeUndefined(),
  );

  test("has at most 128 characters", () => {
    expect(parseTag("a".repeat(128))).toBeDefined();
    expect(parseTag("a".repeat(129))).toBeUndefined();
  });
});
