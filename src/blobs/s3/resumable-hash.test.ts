import { expect, test } from "bun:test";
import * as fc from "fast-check";
import { ALGORITHMS, makeDigest } from "../../oci/digest.ts";
import { ResumableHash } from "./resumable-hash.ts";

const length = fc.oneof(
  fc.integer({ min: 0, max: 400 }),
  fc.constantFrom(55, 56, 63, 64, 65, 111, 112, 127, 128, 129, 100_000),
);

for (const algorithm of ALGORITHMS) {
  test(`${algorithm} saved and restored between any chunks is what the runtime computes`, () => {
    fc.assert(
      fc.property(fc.array(length, { maxLength: 8 }), (lengths) => {
        const known = new Bun.CryptoHasher(algorithm);
        let hash = new ResumableHash(algorithm);
        for (const [index, size] of lengths.entries()) {
          const bytes = new Uint8Array(size).map((_, i) => (i * 31 + index * 7) & 255);
          known.update(bytes);
          hash.update(bytes);
          hash = ResumableHash.restore(algorithm, hash.save());
        }
        expect(hash.digest()).toBe(makeDigest(algorithm, known.digest("hex")));
      }),
      { numRuns: 300 },
    );
  });
}
