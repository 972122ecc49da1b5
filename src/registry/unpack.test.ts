import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "bun:test";
import { openFileStore } from "../blobs/file/store.ts";
import { placeKeyOf } from "../blobs/placed.ts";
import type { Locator } from "../blobs/port.ts";
import { keys, lastPart } from "../meta/keys.ts";
import { openWriter } from "../meta/sqlite/index.ts";
import { makeDigest } from "../oci/digest.ts";
import { decode, encode, type BlobRecord } from "./records.ts";
import { type IsPacked, namesPacked, unpackBlobs } from "./unpack.ts";

const { signal } = new AbortController();
const isPacked: IsPacked = (locator) => locator.startsWith("packs/");

test("every small blob has a file of its own; one that is gone keeps its record", async () => {
  const home = mkdtempSync(join(tmpdir(), "holdfast-unpack-"));
  await using held = new AsyncDisposableStack();
  held.defer(() => rmSync(home, { recursive: true, force: true }));
  const blobs = held.adopt(await openFileStore({ directory: home }), (open) => open.close());
  const meta = held.adopt(openWriter({ path: join(home, "db", "x") }), (open) => open.close());
  const put = async (text: string): Promise<BlobRecord> => {
    const bytes = new TextEncoder().encode(text);
    const hash = new Bun.CryptoHasher("sha256").update(bytes).digest("hex");
    const digest = makeDigest("sha256", hash);
    const record: BlobRecord = { ...(await blobs.put(digest, bytes)), verified: true, at: 7 };
    await meta.commit({ put: [{ key: keys.blob(digest), value: encode(record) }] });
    return record;
  };
  const all = async () => (await meta.scan({ prefix: keys.blobs, limit: 1000 })).entries;
  await Promise.all(Array.from({ length: 600 }, (_, n) => put(`small ${n}`)));
  const large = await put("x".repeat(100_000));
  const gone = await put("gone");
  await blobs.delete(gone.locator);
  // Of distribution: it has no place key either, and is not ours to copy.
  const hash = new Bun.CryptoHasher("sha256").update("adopted").digest("hex");
  const adopted = `docker/registry/v2/blobs/sha256/${hash.slice(0, 2)}/${hash}/data`;
  mkdirSync(join(home, adopted, ".."), { recursive: true });
  writeFileSync(join(home, adopted), "adopted");
  const record = { locator: adopted as Locator, size: 7, verified: true, at: 7 };
  await meta.commit({
    put: [{ key: keys.blob(makeDigest("sha256", hash)), value: encode(record) }],
  });

  expect(await unpackBlobs(meta, blobs, { isPacked, signal })).toEqual({ blobs: 600, gone: 1 });
  const locators = new Set<string>();
  for (const entry of await all()) {
    const { locator, size, at } = decode<BlobRecord>(entry)?.value ?? gone;
    locators.add(locator);
    if (locator === gone.locator) continue;
    const bytes = await blobs.read(locator, size);
    const hash = new Bun.CryptoHasher("sha256").update(bytes ?? "").digest("hex");
    expect([`sha256:${hash}`, at]).toEqual([lastPart(entry.key), 7]);
    if (locator === record.locator) continue;
    expect(placeKeyOf(locator)).not.toBe(locator);
    expect(existsSync(join(home, locator))).toBe(true);
  }
  for (const { locator } of [large, gone, record]) expect(locators.has(locator)).toBe(true);
  expect(readdirSync(join(home, "packs"))).not.toEqual([]);

  const before = await all();
  expect(await unpackBlobs(meta, blobs, { isPacked, signal })).toEqual({ blobs: 0, gone: 1 });
  expect(await all()).toEqual(before);
  expect(await namesPacked(meta, isPacked)).toBe(true);
  await meta.commit({ delete: [keys.blob(blobs.digestOf(gone.locator) ?? "")] });
  expect(await namesPacked(meta, isPacked)).toBe(false);
}, 30_000);
