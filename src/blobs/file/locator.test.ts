import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import fs from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { bodyOf, collected, digestOf, failureOf, randomBytes } from "../conformance-tools.ts";
import type { BlobStore, Locator } from "../port.ts";
import { encodedOf } from "../../oci/digest.ts";
import { openFileStore } from "./store.ts";

describe("locators of the file store", () => {
  const directory = fs.mkdtempSync(join(tmpdir(), "holdfast-locators-"));
  const bytes = randomBytes(300);
  const hex = encodedOf(digestOf(bytes));
  let store: BlobStore;
  beforeAll(async () => {
    store = await openFileStore({ directory });
  });
  afterAll(async () => {
    await store.close();
    fs.rmSync(directory, { recursive: true });
  });

  const own = `blobs/sha256/${hex.slice(0, 2)}/${hex}.abcdefgh`;
  const adopted = `docker/registry/v2/blobs/sha256/${hex.slice(0, 2)}/${hex}/data`;

  function plant(locator: string): Locator {
    const path = join(directory, locator);
    fs.mkdirSync(dirname(path), { recursive: true });
    fs.writeFileSync(path, bytes);
    return locator as Locator;
  }

  test("both forms are read and deleted", async () => {
    for (const text of [own, adopted]) {
      const locator = plant(text);
      expect(await store.stat(locator)).toBe(300);
      expect(await bodyOf(store, { locator, size: 300 })).toEqual(bytes);
      expect(await store.read(locator, 300)).toEqual(bytes);
      await store.delete(locator);
      expect(fs.existsSync(join(directory, text))).toBe(false);
    }
  });

  test("no other text reaches a file, not even one that is there", async () => {
    fs.writeFileSync(join(directory, "secret"), bytes);
    const tricks = [
      "",
      "secret",
      "../secret",
      "/etc/passwd",
      join(directory, own),
      `./${own}`,
      `${own}/../../../../secret`,
      `blobs/sha256/../../secret`,
      `${own}\0`,
      `${own}\n`,
      own.slice(0, -1),
      own.replace("sha256", "sha512"),
      own.replace("sha256", "SHA256"),
      own.replace(`/${hex.slice(0, 2)}/`, `/${hex.slice(0, 2) === "00" ? "11" : "00"}/`),
      own.replace(".abcdefgh", ".abcdefg1"),
      own.replace(".abcdefgh", ""),
      adopted.replace("/data", "/data/"),
      adopted.replace("/data", "/link"),
      `x/${adopted}`,
      "uploads/x",
    ];
    plant(own);
    plant(adopted);
    for (const trick of tricks) {
      const locator = trick as Locator;
      const calls = [
        store.stat(locator),
        store.open(locator, 300),
        store.read(locator, 300),
        store.delete(locator),
      ];
      for (const call of calls) expect(await failureOf(call)).toBeInstanceOf(Error);
    }
    expect(fs.existsSync(join(directory, "secret"))).toBe(true);
    expect(fs.existsSync(join(directory, own))).toBe(true);
  });

  test("links, directories and pipes read as absent", async () => {
    const target = join(directory, "target");
    fs.mkdirSync(target, { recursive: true });
    fs.writeFileSync(join(target, "data"), bytes);
    const makers = [
      (path: string) => fs.symlinkSync(join(target, "data"), path),
      (path: string) => fs.mkdirSync(path),
      (path: string) => Bun.spawnSync(["mkfifo", path]),
    ];
    for (const [index, make] of makers.entries()) {
      for (const locator of [plant(own), plant(adopted)]) {
        const path = join(directory, locator);
        fs.rmSync(path, { recursive: true });
        make(path);
        expect([index, await store.stat(locator)]).toEqual([index, undefined]);
        expect(await store.open(locator, 300)).toBeUndefined();
        expect(await store.read(locator, 300)).toBeUndefined();
        await store.delete(locator);
        expect(fs.lstatSync(path, { throwIfNoEntry: false })).toBeDefined();
        expect((await collected(store.list())).map((blob) => blob.locator)).not.toContain(locator);
        fs.rmSync(path, { recursive: true });
      }
    }
    const parent = dirname(join(directory, plant(adopted)));
    fs.rmSync(parent, { recursive: true });
    fs.symlinkSync(target, parent);
    expect(await store.stat(adopted as Locator)).toBeUndefined();
    await store.delete(adopted as Locator);
    expect(fs.existsSync(join(target, "data"))).toBe(true);
  });

  test("an upload's file is never reached through a link", async () => {
    const outside = join(directory, "outside");
    fs.writeFileSync(outside, bytes);
    fs.symlinkSync(outside, join(directory, "uploads", "linked"));
    expect(await failureOf(store.upload("linked", "sha256"))).toBeInstanceOf(Error);
    expect(await failureOf(store.discard("linked"))).toBeInstanceOf(Error);
    expect(await store.uploadSize("linked")).toBeUndefined();
    expect(fs.readFileSync(outside)).toEqual(Buffer.from(bytes));
  });
});
