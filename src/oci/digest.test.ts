import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import {
  ALGORITHMS,
  algorithmOf,
  encodedOf,
  isDescriptorDigest,
  makeDigest,
  parseAlgorithm,
  parseDigest,
} from "./digest.ts";

const hex = (length: number) =>
  fc.string({
    unit: fc.constantFrom(...Array.from("0123456789abcdef")),
    minLength: length,
    maxLength: length,
  });
const storable = fc.oneof(
  hex(64).map((h) => `sha256:${h}`),
  hex(128).map((h) => `sha512:${h}`),
);

describe("a digest", () => {
  test("reads back from its own parts", () => {
    fc.assert(
      fc.property(storable, (text) => {
        const digest = parseDigest(text);
        if (digest === undefined) throw new Error(`${text} was refused`);
        expect<string>(digest).toBe(text);
        expect(makeDigest(algorithmOf(digest), encodedOf(digest))).toBe(digest);
        expect(isDescriptorDigest(text)).toBe(true);
      }),
    );
  });

  test.each([
    "",
    ":",
    "sha256",
    "sha256:",
    `sha256:${"a".repeat(63)}`,
    `sha256:${"a".repeat(65)}`,
    `sha256:${"A".repeat(64)}`,
    `sha256:${"g".repeat(64)}`,
    `sha256:${"a".repeat(64)}\n`,
    `\nsha256:${"a".repeat(64)}`,
    ` sha256:${"a".repeat(64)}`,
    `sha256:${"a".repeat(128)}`,
    `sha512:${"a".repeat(64)}`,
    `SHA256:${"a".repeat(64)}`,
    `sha384:${"a".repeat(96)}`,
    `blake3:${"a".repeat(64)}`,
    `sha256%3A${"a".repeat(64)}`,
    `sha256:${"a".repeat(63)}а`,
    `sha256:../${"a".repeat(61)}`,
  ])("is not made of %j", (text) => expect(parseDigest(text)).toBeUndefined());

  test("loses its validity with any one character changed to one outside the alphabet", () => {
    fc.assert(
      fc.property(
        storable,
        fc.nat(),
        fc.constantFrom(...Array.from("AZgz!:/ .\0é")),
        (text, at, other) => {
          const i = at % text.length;
          const changed = text.slice(0, i) + other + text.slice(i + 1);
          fc.pre(changed !== text);
          expect(parseDigest(changed)).toBeUndefined();
        },
      ),
    );
  });
});

describe("a descriptor's digest", () => {
  const letters = "abcdefghijklmnopqrstuvwxyz";
  const of = (alphabet: string, maxLength: number) =>
    fc.string({ unit: fc.constantFrom(...Array.from(alphabet)), minLength: 1, maxLength });
  const component = of(`${letters}0123456789`, 8);
  const algorithm = fc
    .tuple(
      component,
      fc.array(fc.tuple(fc.constantFrom(...Array.from("+._-")), component), { maxLength: 3 }),
    )
    .map(([first, more]) => first + more.flat().join(""))
    .filter((name) => name !== "sha256" && name !== "sha512");
  const encoded = of(`${letters}${letters.toUpperCase()}0123456789=_-`, 100);

  test("may be of any algorithm that fits the grammar", () => {
    fc.assert(
      fc.property(algorithm, encoded, (name, value) => {
        expect(isDescriptorDigest(`${name}:${value}`)).toBe(true);
      }),
    );
  });

  test("is well-formed where the algorithm is known", () => {
    fc.assert(
      fc.property(fc.constantFrom(...ALGORITHMS), encoded, (name, value) => {
        const text = `${name}:${value}`;
        expect(isDescriptorDigest(text)).toBe(parseDigest(text) !== undefined);
      }),
    );
  });

  test.each([
    "",
    "abc",
    ":abc",
    "abc:",
    "Abc:def",
    "a b:c",
    "a+:c",
    "+a:c",
    "a++b:c",
    "a:b:c",
    "a:b/c",
    "a:b!c",
    "a:b c",
    "a:b\n",
    `a:${"b".repeat(511)}`,
  ])("is not %j", (text) => expect(isDescriptorDigest(text)).toBe(false));

  test("never splits a key: no accepted text has a `!`, a slash or a space", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (noise) => {
        if (isDescriptorDigest(noise)) expect(noise).toMatch(/^[\w+.:=-]+$/);
        expect(isDescriptorDigest(`a:b!${noise}`)).toBe(false);
      }),
      { numRuns: 500 },
    );
  });

  test("is refused in time linear in its length", () => {
    for (const text of ["a-".repeat(2 ** 20), "a".repeat(2 ** 21), `a:${"b".repeat(2 ** 21)}!`]) {
      expect(isDescriptorDigest(text)).toBe(false);
      expect(parseDigest(text)).toBeUndefined();
    }
  });
});

test("only algorithms that can be computed are algorithms", () => {
  for (const algorithm of ALGORITHMS) expect(parseAlgorithm(algorithm)).toBe(algorithm);
  for (const text of ["", "SHA256", "sha256 ", "sha384", "blake3", "md5", "__proto__"]) {
    expect(parseAlgorithm(text)).toBeUndefined();
  }
});
