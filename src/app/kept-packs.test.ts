import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "bun:test";
import { openFileStore } from "../blobs/file/store.ts";
import { quiet } from "../journal/journal-fixture.ts";
import { keys } from "../meta/keys.ts";
import { openWriter } from "../meta/sqlite/index.ts";
import { makeDigest } from "../oci/digest.ts";
import { encode } from "../registry/records.ts";
import { keepPacks, takeKeptPacks } from "./kept-packs.ts";

test("packs go aside only when no record names one, never go for good, and come back", async () => {
  const data = mkdtempSync(join(tmpdir(), "holdfast-packs-"));
  await using held = new AsyncDisposableStack();
  held.defer(() => rmSync(data, { recursive: true, force: true }));
  const meta = held.adopt(openWriter({ path: join(data, "db", "x") }), (open) => open.close());
  const bytes = new TextEncoder().encode("small");
  const digest = makeDigest("sha256", new Bun.CryptoHasher("sha256").update(bytes).digest("hex"));
  const pack = async () => {
    const blobs = await openFileStore({ directory: data });
    const blob = await blobs.put(digest, bytes);
    await blobs.close();
    return blob;
  };
  const names = () =>
    readdirSync(data).flatMap((name) => {
      const count = name.startsWith("packs") ? readdirSync(join(data, name)).length : 0;
      return count > 0 ? [name.replace(/\d+$/, "N")] : [];
    });
  const { locator, size } = await pack();
  const record = encode({ locator, size, verified: true, at: 7 });
  await meta.commit({ put: [{ key: keys.blob(digest), value: record }] });
  await keepPacks(data, meta, quiet);
  expect(names()).toEqual(["packs"]);

  await meta.commit({ delete: [keys.blob(digest)] });
  await keepPacks(data, meta, quiet);
  expect(names()).toEqual(["packs.before-cluster"]);
  const blobs = held.adopt(await openFileStore({ directory: data }), (open) => open.close());
  expect(await blobs.read(locator, size)).toBeUndefined();
  await takeKeptPacks(data);
  expect(names()).toEqual(["packs"]);
  expect(await blobs.read(locator, size)).toEqual(bytes);

  await keepPacks(data, meta, quiet);
  await pack();
  await takeKeptPacks(data);
  expect(names()).toEqual(["packs", "packs.before-cluster"]);
  await keepPacks(data, meta, quiet);
  expect(names().sort()).toEqual(["packs.before-cluster", "packs.before-cluster-N"]);
});
