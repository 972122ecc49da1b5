import { expect, test } from "bun:test";
import * as fc from "fast-check";
import { knownKeys } from "./keys.ts";
import { editDistance, nearest } from "./unknown.ts";

const text = fc.string({ maxLength: 12 });

test.each([
  ["kitten", "sitting", 3],
  ["", "abc", 3],
  ["same", "same", 0],
])("the distance of %p and %p is %p", (a, b, distance) =>
  expect(editDistance(a, b)).toBe(distance),
);

test("it is a distance: zero for equals only, symmetric, and never shortened by a detour", () => {
  fc.assert(
    fc.property(text, text, text, (a, b, c) => {
      expect(editDistance(a, b) === 0).toBe(a === b);
      expect(editDistance(a, b)).toBe(editDistance(b, a));
      expect(editDistance(a, c)).toBeLessThanOrEqual(editDistance(a, b) + editDistance(b, c));
    }),
  );
});

test.each([
  ["lisen", "listen"],
  ["log.lvl", "log.level"],
  ["level", "log.level"],
  ["publicURL", "publicUrl"],
  ["limits.manifestSize", "limits.manifestBytes"],
  ["worker", "workers"],
])("the nearest key to %p is %p", (unknown, known) =>
  expect(nearest(unknown, knownKeys.keys())).toBe(known),
);

test.each(["colour", "a", "storageClass"])("no key is near %p", (unknown) =>
  expect(nearest(unknown, knownKeys.keys())).toBeUndefined(),
);

test("every known key is the nearest to itself", () => {
  for (const key of knownKeys.keys()) expect(nearest(key, knownKeys.keys())).toBe(key);
});
