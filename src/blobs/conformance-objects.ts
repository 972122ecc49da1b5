/** What every engine of the ObjectStore port must do, as tests. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { collected, failureOf, randomBytes } from "./conformance-tools.ts";
import type { ObjectStore } from "./objects.ts";

export interface OpenedObjects {
  readonly store: ObjectStore;
  /** A second handle on the same objects, as another process would have it. */
  readonly other: ObjectStore;
  /** Whether `ifAbsent` is to be relied on; a bucket that ignores the condition says false. */
  readonly conditional: boolean;
  close(): Promise<void>;
}

/** Registers the suite for an engine; `open` gives an empty store, once. */
export function objectStoreConformance(name: string, open: () => Promise<OpenedObjects>): void {
  describe(`${name}: the ObjectStore port`, () => {
    let opened: OpenedObjects;
    let store: ObjectStore;
    let other: ObjectStore;
    let tests = 0;
    beforeAll(async () => {
      opened = await open();
      ({ store, other } = opened);
    });
    afterAll(() => opened.close());
    const place = () => `t${tests++}/`;
    const names = async (prefix: string) =>
      (await collected(store.list(prefix))).map((object) => object.name).sort();

    test("what was put reads back through every handle, byte for byte", async () => {
      const p = place();
      for (const size of [0, 1, 1000, 3_000_000]) {
        const bytes = randomBytes(size);
        expect(await store.put(`${p}object-${size}`, bytes)).toBe(true);
        for (const handle of [store, other])
          expect(await handle.get(`${p}object-${size}`)).toEqual(bytes);
      }
    });

    test("an absent object is undefined, and deleting it succeeds", async () => {
      const p = place();
      expect(await store.get(`${p}none`)).toBeUndefined();
      await store.delete(`${p}none`);
      await store.put(`${p}one`, randomBytes(10));
      await other.delete(`${p}one`);
      expect(await store.get(`${p}one`)).toBeUndefined();
      expect(await names(p)).toEqual([]);
      await store.delete(`${p}one`);
    });

    test("a put replaces whole: a reader sees one or the other", async () => {
      const p = place();
      const [a, b] = [randomBytes(300_000), randomBytes(200_000)];
      await store.put(`${p}x`, a);
      const turns = { left: 10 };
      const writer = (async () => {
        for (; turns.left > 0; turns.left--) await store.put(`${p}x`, turns.left % 2 === 0 ? b : a);
      })();
      let reads = 0;
      for (; turns.left > 0 || reads === 0; reads++) {
        const seen = await other.get(`${p}x`);
        expect([a, b].some((one) => seen !== undefined && Buffer.compare(seen, one) === 0)).toBe(
          true,
        );
      }
      await writer;
    });

    test("put leaves the caller's bytes alone", async () => {
      const bytes = randomBytes(1000);
      const before = bytes.slice();
      await store.put(`${place()}x`, bytes);
      expect(bytes).toEqual(before);
    });

    test("a list shows all below its prefix and nothing else, with size and time", async () => {
      const p = place();
      const wanted = [`${p}a/1`, `${p}a/b/c/2`, `${p}a/.hidden`, `${p}a/x-y_z.0`];
      const started = Date.now();
      for (const [size, name] of [...wanted, `${p}ab/1`, `${p}a.b`].entries())
        await store.put(name, randomBytes(size));
      expect(await names(`${p}a/`)).toEqual([...wanted].sort());
      expect((await names(p)).length).toBe(6);
      expect((await names("")).filter((name) => name.startsWith(p)).length).toBe(6);
      for await (const { name, size, modified } of other.list(`${p}a/`)) {
        expect(size).toBe(wanted.indexOf(name));
        expect(Math.abs(modified - started)).toBeLessThan(60_000);
      }
      expect(await names(`${p}none/`)).toEqual([]);
    });

    test("a list longer than a page has no gap or repeat", async () => {
      const p = place();
      const all = Array.from({ length: 1100 }, (_, n) => `${p}${n}`);
      const todo = [...all];
      const lane = async () => {
        for (let name = todo.pop(); name !== undefined; name = todo.pop())
          await store.put(name, randomBytes(1));
      };
      await Promise.all(Array.from({ length: 16 }, lane));
      expect(await names(p)).toEqual([...all].sort());
    });

    test("a name outside the alphabet is refused", async () => {
      for (const name of ["", "/", "a/", "/a", "a//b", "..", "a/../b", "a b", "a/.", "ä", "a\0"]) {
        expect(await failureOf(store.put(name, randomBytes(1)))).toBeInstanceOf(RangeError);
        expect(await failureOf(store.get(name))).toBeInstanceOf(RangeError);
        expect(await failureOf(store.delete(name))).toBeInstanceOf(RangeError);
      }
      for (const prefix of ["a", "/", "../", "a//"])
        expect(await failureOf(collected(store.list(prefix)))).toBeInstanceOf(RangeError);
    });

    test("ifAbsent leaves what is there", async () => {
      if (!opened.conditional) return;
      const p = place();
      const bytes = randomBytes(10);
      expect(await store.put(`${p}x`, bytes, { ifAbsent: true })).toBe(true);
      expect(await other.put(`${p}x`, randomBytes(10), { ifAbsent: true })).toBe(false);
      expect(await store.get(`${p}x`)).toEqual(bytes);
      await store.delete(`${p}x`);
      expect(await other.put(`${p}x`, bytes, { ifAbsent: true })).toBe(true);
    });

    test("of any number of writers with ifAbsent one wins, and its bytes stay", async () => {
      if (!opened.conditional) return;
      for (let round = 0; round < 5; round++) {
        const p = place();
        const offers = Array.from({ length: 12 }, () => randomBytes(1000));
        const won = await Promise.all(
          offers.map((bytes, n) =>
            (n % 2 === 0 ? store : other).put(`${p}x`, bytes, { ifAbsent: true }),
          ),
        );
        expect(won.filter(Boolean).length).toBe(1);
        expect(await store.get(`${p}x`)).toEqual(offers[won.indexOf(true)]);
      }
    });
  });
}
