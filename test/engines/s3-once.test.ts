/** A store that cannot keep two from writing the same name: what still begins there, and what does not. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../../src/base/clock.ts";
import { failureOf, randomBytes } from "../../src/blobs/conformance-tools.ts";
import type { ObjectStore } from "../../src/blobs/objects.ts";
import { BlobStoreUnavailable } from "../../src/blobs/port.ts";
import { openS3Objects } from "../../src/blobs/s3/index.ts";
import { openWriter } from "../../src/meta/sqlite/index.ts";
import { joinInstallation, WrongInstallation } from "../../src/registry/installation.ts";
import { describeWith } from "../clients/support/tools.ts";
import { startVersitygw, type Versitygw } from "../support/versitygw.ts";

describeWith(["versitygw"], "a bucket without If-None-Match", () => {
  const root = mkdtempSync(join(tmpdir(), "holdfast-once-"));
  let server: Versitygw;
  beforeAll(async () => {
    server = await startVersitygw();
    await server.createBucket("blobs");
  });
  afterAll(async () => {
    await server[Symbol.asyncDispose]();
    rmSync(root, { recursive: true });
  });

  const open = (prefix: string): ObjectStore => {
    const { endpoint } = server;
    return openS3Objects({
      bucket: "blobs",
      prefix,
      endpoint,
      credentials: server,
      ifNoneMatch: false,
    });
  };

  test("takes no part in what must not happen twice", async () => {
    const put = open("a/").put("x", randomBytes(10), { ifAbsent: true });
    const failure = await failureOf(put);
    expect(failure).toBeInstanceOf(BlobStoreUnavailable);
    expect(String(failure)).toContain("(metadata.postgres, metadata.etcd)");
  });

  test("keeps what is there, and of several at the same moment one is told that it won", async () => {
    const objects = open("b/");
    const offers = Array.from({ length: 6 }, () => randomBytes(100));
    const nearly = (bytes: Uint8Array<ArrayBuffer>) =>
      objects.put("x", bytes, { ifAbsent: "nearly" });
    const won = await Promise.all(offers.map(nearly));
    expect(won.filter(Boolean).length).toBe(1);
    expect(await objects.get("x")).toEqual(offers[won.indexOf(true)]);
    expect(await nearly(randomBytes(100))).toBe(false);
    expect(await objects.get("x")).toEqual(offers[won.indexOf(true)]);
  });

  test("becomes an installation, and of two databases at once only one's", async () => {
    const objects = open("c/");
    const names = { database: "database", bucket: "bucket" };
    const stores = [1, 2].map((n) => openWriter({ path: join(root, `${n}`, "holdfast.db") }));
    const joined = await Promise.allSettled(
      stores.map((store) => joinInstallation(store, objects, systemClock, names)),
    );
    const ids = joined.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
    const failures = joined.flatMap((one) =>
      one.status === "rejected" ? [one.reason as unknown] : [],
    );
    expect(ids.length).toBe(1);
    expect(failures[0]).toBeInstanceOf(WrongInstallation);
    for (const [index, store] of stores.entries()) {
      const again = joinInstallation(store, objects, systemClock, names);
      if (joined[index]?.status === "fulfilled") expect(await again).toBe(ids[0] ?? "");
      else expect(await failureOf(again)).toBeInstanceOf(WrongInstallation);
      await store.close();
    }
  });
});
