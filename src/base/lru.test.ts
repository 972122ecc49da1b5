import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import { Lru } from "./lru.ts";

describe("a cache", () => {
  test("forgets what was used longest ago", () => {
    const cache = new Lru<number>(3);
    for (const key of ["a", "b", "c"]) cache.set(key, 1, 1);
    expect(cache.get("a")).toBe(1);
    cache.set("d", 1, 1);
    expect(["a", "b", "c", "d"].map((key) => cache.get(key))).toEqual([1, undefined, 1, 1]);
  });

  test("makes room for a heavy value, and does not take one that is too heavy", () => {
    const cache = new Lru<string>(10);
    cache.set("a", "a", 5);
    cache.set("b", "b", 5);
    cache.set("c", "c", 11);
    expect([cache.get("a"), cache.get("b"), cache.get("c")]).toEqual(["a", "b", undefined]);
    cache.set("c", "c", 10);
    expect([cache.get("a"), cache.get("b"), cache.get("c")]).toEqual([undefined, undefined, "c"]);
  });

  test("behaves as a list in the order of use, after any operations", () => {
    const key = fc.constantFrom(...Array.from("abcdef"));
    const operation = fc.oneof(
      fc.record({ kind: fc.constant("get" as const), key }),
      fc.record({ kind: fc.constant("delete" as const), key }),
      fc.record({ kind: fc.constant("set" as const), key, value: fc.nat(), weight: fc.nat(12) }),
    );
    fc.assert(
      fc.property(fc.nat(20), fc.array(operation, { maxLength: 60 }), (most, operations) => {
        const cache = new Lru<number>(most);
        let model: { key: string; value: number; weight: number }[] = [];
        for (const operation of operations) {
          const { kind, key } = operation;
          const held = model.find((entry) => entry.key === key);
          if (kind === "get") {
            expect(cache.get(key)).toBe(held?.value);
            if (held) model = [...model.filter((entry) => entry !== held), held];
          } else if (kind === "delete") {
            cache.delete(key);
            model = model.filter((entry) => entry !== held);
          } else {
            const { value, weight } = operation;
            cache.set(key, value, weight);
            if (weight > most) continue;
            model = [...model.filter((entry) => entry !== held), { key, value, weight }];
            while (model.reduce((sum, entry) => sum + entry.weight, 0) > most) model.shift();
          }
        }
        for (const key of "abcdef") {
          expect(cache.get(key)).toBe(model.find((entry) => entry.key === key)?.value);
        }
      }),
      { numRuns: 500 },
    );
  });
});
