import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import { placeKey, PLACE_KEYS } from "../blobs/placed.ts";
import type { Locator } from "../blobs/port.ts";
import {
  copiesWithin,
  durableWithin,
  fillsUp,
  isNearlyFull,
  placement,
  placementOfKey,
  type PlacedNode,
} from "./placement.ts";

type Node = PlacedNode & { readonly store: string };

const GIB = 2 ** 30;
const HEX = "ab".repeat(32);
const locatorOf = (key: string): Locator => `blobs/sha256/ab/${HEX}.${key}mnopq` as Locator;

const node = fc.record({
  store: fc.stringMatching(/^[0-9a-f]{16}$/),
  zone: fc.option(fc.constantFrom("a", "b", "c"), { nil: undefined }),
  draining: fc.option(fc.constant(true as const), { nil: undefined }),
  space: fc.option(fc.constantFrom({ free: 0, total: GIB }, { free: 9 * GIB, total: 10 * GIB }), {
    nil: undefined,
  }),
});
const nodes = fc
  .uniqueArray(node, { minLength: 1, maxLength: 9, selector: ({ store }) => store })
  .map((found) => found as readonly Node[]);
const plain = (count: number): Node[] =>
  Array.from({ length: count }, () => ({ store: crypto.randomUUID() }));
const key = fc.nat({ max: PLACE_KEYS - 1 }).map(placeKey);
const copies = fc.integer({ min: 1, max: 5 });
const storesOf = (found: readonly Node[]): string[] => found.map(({ store }) => store);

describe("placement", () => {
  test("is the same for all who know the same nodes, in whatever order, and names each once", () => {
    fc.assert(
      fc.property(nodes, key, copies, (found, place, wanted) => {
        const placed = placement(locatorOf(place), found, wanted);
        const { holders, further } = placed;
        expect(placement(locatorOf(place), found.toReversed(), wanted)).toEqual(placed);
        expect(placementOfKey(place, found, wanted)).toEqual(placed);
        expect(storesOf([...holders, ...further]).sort()).toEqual(storesOf(found).sort());
      }),
    );
  });

  test("stays what it is: other versions of the program find the same holders", () => {
    const found = ["s1", "s2", "s3", "s4", "s5"].map((store) => ({ store }));
    const orders = ["aaa", "k7q", "zzz"].map((place) =>
      storesOf(placementOfKey(place, found, 5).holders).join(" "),
    );
    expect(orders).toMatchInlineSnapshot(`
      [
        "s5 s1 s4 s2 s3",
        "s4 s3 s1 s2 s5",
        "s3 s5 s1 s4 s2",
      ]
    `);
  });

  test("leaves what there is with those that would hold it if they had room", () => {
    fc.assert(
      fc.property(nodes, key, copies, (found, place, wanted) => {
        const roomy = found.map((one): Node => ({
          ...one,
          space: { free: 9 * GIB, total: 10 * GIB },
        }));
        const keepers = storesOf(placementOfKey(place, found, wanted).keepers);
        const { holders } = placementOfKey(place, roomy, wanted);
        expect(keepers).toEqual(storesOf(holders));
      }),
    );
  });

  test("gives as many holders as are wanted, or as do not drain", () => {
    fc.assert(
      fc.property(nodes, key, copies, (found, place, wanted) => {
        const { holders } = placementOfKey(place, found, wanted);
        const staying = found.filter(({ draining }) => !draining);
        const able = staying.length > 0 ? staying : found;
        expect(holders.length).toBe(Math.min(wanted, able.length));
        expect(holders.every((holder) => able.includes(holder))).toBe(true);
        expect(copiesWithin(found, wanted)).toBe(Math.max(1, Math.min(wanted, staying.length)));
      }),
    );
  });

  test("has those that drain hold what a push waits for where too few stay, after those that stay", () => {
    fc.assert(
      fc.property(nodes, key, copies, copies, (found, place, wanted, durable) => {
        const least = durableWithin(found, wanted, durable);
        const { holders, keepers } = placementOfKey(place, found, wanted, least);
        expect(holders.length).toBeGreaterThanOrEqual(least);
        expect(holders.length).toBeLessThanOrEqual(wanted);
        expect(keepers.length).toBe(holders.length);
        const plainly = placementOfKey(place, found, wanted).holders;
        expect(holders.slice(0, plainly.length)).toEqual([...plainly]);
        expect(holders.slice(plainly.length).every(({ draining }) => draining)).toBe(true);
      }),
    );
  });

  test("never asks a push to wait for fewer because nodes drain, nor for more than there are", () => {
    const drain = (found: readonly Node[]): Node[] =>
      found.map((one) => ({ ...one, draining: true }));
    fc.assert(
      fc.property(
        nodes,
        copies,
        fc.option(copies, { nil: undefined }),
        (found, wanted, durable) => {
          const needed = durableWithin(found, wanted, durable);
          expect(durableWithin(drain(found), wanted, durable)).toBe(needed);
          expect(needed).toBeLessThanOrEqual(found.length);
        },
      ),
    );
    const sizes = [1, 2, 3, 4, 5].map((count) => durableWithin(plain(count), 3, undefined));
    expect(sizes).toEqual([1, 2, 2, 2, 2]);
    expect(durableWithin(plain(5), 3, 3)).toBe(3);
  });

  test("takes nearly full stores last, and those that drain after them", () => {
    fc.assert(
      fc.property(nodes, key, (found, place) => {
        const { holders, further } = placementOfKey(place, found, 1);
        const ranks = [...holders, ...further].map(({ draining, space }) =>
          draining ? 2 : space !== undefined && space.free === 0 ? 1 : 0,
        );
        expect(ranks).toEqual(ranks.toSorted((a, b) => a - b));
      }),
    );
  });

  test("gives as many zones a copy as there are zones and copies", () => {
    const zoned = fc.uniqueArray(
      fc.record({
        store: fc.stringMatching(/^[0-9a-f]{16}$/),
        zone: fc.constantFrom("a", "b", "c", "d"),
      }),
      { minLength: 1, maxLength: 12, selector: ({ store }) => store },
    );
    fc.assert(
      fc.property(zoned, key, copies, (found, place, wanted) => {
        const zones = new Set(found.map(({ zone }) => zone));
        const { holders } = placementOfKey(place, found, wanted);
        expect(new Set(holders.map(({ zone }) => zone)).size).toBe(Math.min(zones.size, wanted));
      }),
    );
  });

  test("a store that goes takes only its own copies along, and one that comes takes only its own", () => {
    fc.assert(
      fc.property(nodes, fc.nat(), key, copies, (found, pick, place, wanted) => {
        const gone = found[pick % found.length];
        if (gone === undefined || found.every(({ draining }) => draining)) return;
        const rest = found.filter((other) => other !== gone);
        const before = storesOf(placementOfKey(place, found, wanted).holders);
        const after = storesOf(placementOfKey(place, rest, wanted).holders);
        if (rest.every(({ draining }) => draining)) return;
        const left = before.filter((store) => store !== gone.store);
        expect(left.every((store) => after.includes(store))).toBe(true);
      }),
    );
  });

  test.each([
    [3, 2],
    [5, 3],
    [6, 2],
  ])(
    "10,000 blobs on %d stores, %d copies each: every store has its share to a tenth",
    (count, wanted) => {
      const found = plain(count);
      const shares = new Map<string, number>();
      for (let i = 0; i < 10_000; i++) {
        const place = placeKey(Math.floor(Math.random() * PLACE_KEYS));
        for (const { store } of placement(locatorOf(place), found, wanted).holders) {
          shares.set(store, (shares.get(store) ?? 0) + 1);
        }
      }
      const fair = (10_000 * wanted) / count;
      for (const { store } of found) {
        expect(Math.abs((shares.get(store) ?? 0) - fair)).toBeLessThan(fair / 10);
      }
    },
  );

  test("a locator without a place key is placed by all of it", () => {
    const found = plain(5);
    const orders = Array.from({ length: 50 }, (_, i) =>
      storesOf(
        placement(`packs/abcdefghijklmnop:00${10 + i}:sha256:${HEX}` as Locator, found, 3).holders,
      ).join(),
    );
    expect(new Set(orders).size).toBeGreaterThan(10);
  });
});

describe("a store", () => {
  test("is nearly full until twice as much is free as made it so", () => {
    fc.assert(
      fc.property(fc.integer({ min: 5, max: 10_000 }), (gib) => {
        const total = gib * GIB;
        const least = Math.max(total / 20, GIB);
        const seen: boolean[] = [];
        let is = false;
        for (const share of [3, 1, 0.99, 1.01, 1.99, 0.5, 1.99, 2, 1.01, 1]) {
          is = fillsUp({ free: share * least, total }, is);
          seen.push(is);
        }
        expect(seen.map(Number).join("")).toBe("0011111000");
      }),
    );
  });

  test("is what it says itself; one that does not say it is judged by what is free", () => {
    const total = 100 * GIB;
    const free = 7 * GIB;
    expect(isNearlyFull({ space: { free, total, nearlyFull: true } })).toBe(true);
    expect(isNearlyFull({ space: { free, total, nearlyFull: false } })).toBe(false);
    expect(isNearlyFull({ space: { free, total } })).toBe(false);
    expect(isNearlyFull({ space: { free: 4 * GIB, total } })).toBe(true);
    expect(isNearlyFull({})).toBe(false);
  });
});
