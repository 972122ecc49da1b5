import { expect, test } from "bun:test";
import { ALGORITHMS, makeDigest } from "../../oci/digest.ts";
import { dataKey, largeLocator, newStem, placeOf, smallLocator, stemOf } from "./names.ts";

const hex = { sha256: "ab".repeat(32), sha512: "cd".repeat(64) };

for (const algorithm of ALGORITHMS) {
  const digest = makeDigest(algorithm, hex[algorithm]);

  test(`locators of ${algorithm} say where the bytes are`, () => {
    const small = smallLocator(digest);
    expect(placeOf(small)).toEqual({ key: small, size: undefined });
    const stem = newStem();
    expect(placeOf(largeLocator(digest, 5e12, stem))).toEqual({ key: dataKey(stem), size: 5e12 });
    expect(stemOf(dataKey(stem))).toBe(stem);
  });

  test(`what is no locator of ${algorithm} names nothing`, () => {
    const good = [smallLocator(digest), largeLocator(digest, 10, newStem())];
    for (const locator of good) {
      for (const bad of [
        locator.toUpperCase(),
        `${locator}x`,
        `/${locator}`,
        locator.replace("/", "/../"),
        locator.replace(hex[algorithm], hex[algorithm].slice(1)),
        locator.replace(`/${hex[algorithm].slice(0, 2)}/`, "/00/"),
        locator.replace(algorithm, algorithm === "sha256" ? "sha512" : "sha256"),
      ]) {
        expect(placeOf(bad)).toBeUndefined();
      }
    }
  });
}
