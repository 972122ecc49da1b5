import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  collected,
  digestOf,
  failureOf,
  newId,
  randomBytes,
  uploaded,
} from "../conformance-tools.ts";
import { placeKeyOf, type PlacedStore } from "../placed.ts";
import { DigestMismatch, type Locator } from "../port.ts";
import { openFileStore } from "./store.ts";

describe("blobs under a locator that another store has made", () => {
  const directories: string[] = [];
  let store: PlacedStore;
  let other: PlacedStore;
  const open = (): Promise<PlacedStore> => {
    const directory = fs.mkdtempSync(join(tmpdir(), "holdfast-placed-"));
    directories.push(directory);
    return openFileStore({ directory });
  };
  beforeEach(async () => {
    [store, other] = [await open(), await open()];
  });
  afterEach(async () => {
    await Promise.all([store.close(), other.close()]);
    for (const directory of directories.splice(0)) fs.rmSync(directory, { recursive: true });
  });

  test("locators are fresh, spell their digest, and begin with the key", () => {
    for (const algorithm of ["sha256", "sha512"] as const) {
      const digest = digestOf(randomBytes(5), algorithm);
      const locators = Array.from({ length: 100 }, () => store.newLocator(digest, "k7q"));
      expect(new Set(locators).size).toBe(100);
      expect(new Set(locators.map(placeKeyOf))).toEqual(new Set(["k7q"]));
      for (const locator of locators) expect(other.digestOf(locator)).toBe(digest);
      expect(
        new Set(Array.from({ length: 100 }, () => placeKeyOf(store.newLocator(digest)))).size,
      ).toBeGreaterThan(50);
    }
  });

  test("the digest of any kind of locator is told, and of nothing else", async () => {
    const bytes = randomBytes(50);
    const digest = digestOf(bytes);
    const hex = digest.slice(7);
    const packed = await store.put(digest, bytes);
    expect(packed.locator).toStartWith("packs/");
    expect(store.digestOf(packed.locator)).toBe(digest);
    const adopted = `docker/registry/v2/blobs/sha256/${hex.slice(0, 2)}/${hex}/data`;
    expect(store.digestOf(adopted as Locator)).toBe(digest);
    for (const text of ["", "x", `${adopted}/..`, `blobs/sha256/${hex.slice(0, 2)}/${hex}`]) {
      expect(store.digestOf(text as Locator)).toBeUndefined();
    }
  });

  test.each([0, 1, 300_000])(
    "%d bytes are placed in a file of their own, twice as well as once",
    async (size) => {
      const bytes = randomBytes(size);
      const locator = store.newLocator(digestOf(bytes));
      for (const handle of [store, other, other]) {
        expect(await handle.place(locator, bytes)).toEqual({ locator, size });
        expect(await handle.read(locator, size)).toEqual(bytes);
        expect((await collected(handle.list())).map((blob) => blob.locator)).toEqual([locator]);
      }
      expect(fs.readFileSync(join(directories[1] ?? "", locator)).equals(bytes)).toBe(true);
    },
  );

  test.each([0, 1000, 300_000])(
    "an upload of %d bytes is committed under it, over what is there",
    async (size) => {
      const bytes = randomBytes(size);
      const locator = store.newLocator(digestOf(bytes));
      if (size > 0) await other.place(locator, randomBytes(size));
      for (const isProven of [true, false]) {
        const id = newId();
        const proven = await uploaded(other, id, bytes);
        const upload = await other.upload(id, "sha256");
        const blob = await upload.commitAs(locator, isProven ? proven : undefined);
        expect(blob).toEqual({ locator, size });
        expect(await other.read(locator, size)).toEqual(bytes);
      }
    },
  );

  test("bytes of another digest are not committed under it", async () => {
    const locator = store.newLocator(digestOf(randomBytes(5)));
    const id = newId();
    await uploaded(other, id, randomBytes(5));
    const upload = await other.upload(id, "sha256");
    expect(await failureOf(upload.commitAs(locator))).toBeInstanceOf(DigestMismatch);
    expect(await other.stat(locator)).toBeUndefined();
    expect(await other.uploadSize(id)).toBeUndefined();
  });

  test("nothing is placed under what is no locator of a file of its own", async () => {
    const bytes = randomBytes(50);
    const packed = await store.put(digestOf(bytes), bytes);
    for (const text of ["x", "../x", "uploads/x", packed.locator]) {
      const locator = text as Locator;
      expect(await failureOf(other.place(locator, bytes))).toBeInstanceOf(Error);
      const upload = await other.upload(newId(), "sha256");
      expect(await failureOf(upload.commitAs(locator))).toBeInstanceOf(Error);
      await upload.abort();
    }
    expect(await collected(other.list())).toEqual([]);
  });
});
