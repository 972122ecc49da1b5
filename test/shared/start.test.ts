/** What stops a node's start: one sentence that names what is wrong, the field, and the remedy. */
import { expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openEtcd } from "../../src/meta/etcd/index.ts";
import { keys } from "../../src/meta/keys.ts";
import type { MetaStore } from "../../src/meta/port.ts";
import { openPostgres } from "../../src/meta/postgres/index.ts";
import { describeWith } from "../clients/support/tools.ts";
import { describeEtcd, startEtcd } from "../support/etcd.ts";
import { runHoldfast } from "../support/failed-start.ts";
import { describePostgres, startPostgres } from "../support/postgres.ts";
import { freePort } from "../support/processes.ts";
import { bytesOf } from "../support/push.ts";
import { startServer } from "../support/server.ts";
import {
  newBucketPlace,
  newPlace,
  type DatabaseKind,
  type SharedPlace,
} from "../support/shared-place.ts";
import { pushImage } from "./support/api.ts";

type Env = Readonly<Record<string, string>>;

/** The sentence with which a node that is led there by `env` does not start. */
async function refusal(env: Env): Promise<string> {
  const data = mkdtempSync(join(tmpdir(), "holdfast-refused-"));
  try {
    const args = ["serve", "--listen", `127.0.0.1:${freePort()}`, "--data", data];
    const began = performance.now();
    const { code, stderr } = await runHoldfast(args, { env });
    expect({ code, lines: stderr.trimEnd().split("\n").length, stderr }).toEqual({
      code: 1,
      lines: 1,
      stderr,
    });
    expect(stderr).toStartWith("holdfast: ");
    expect(performance.now() - began).toBeLessThan(10_000);
    return stderr;
  } finally {
    rmSync(data, { recursive: true, force: true });
  }
}

/** As it is after a node has run there and kept an image. */
async function use({ env }: Pick<SharedPlace, "env">): Promise<void> {
  await using node = await startServer({ workers: 1, env });
  await pushImage(node, "a", "v1", bytesOf(1, 100));
}

/** The database of one place with the bucket of another. */
function mixed(database: SharedPlace, bucket: SharedPlace): Env {
  const isDatabase = (name: string): boolean => name.startsWith("HOLDFAST_METADATA_");
  return Object.fromEntries([
    ...Object.entries(database.env).filter(([name]) => isDatabase(name)),
    ...Object.entries(bucket.env).filter(([name]) => !isDatabase(name)),
  ]);
}

function installations(kind: DatabaseKind, open: (env: Env) => Promise<MetaStore>): void {
  test("a bucket of another installation, a used one with an empty database, an empty one with a used database", async () => {
    await using here = await newPlace(kind);
    await using there = await newPlace(kind);
    await using nowhere = await newPlace(kind);
    await Promise.all([use(here), use(there)]);
    const foreign = await refusal(mixed(here, there));
    expect(foreign).toMatch(
      /bucket "images", prefix "t\d+\/", at http:\S+ belongs to installation \w+, the .* to \w+: correct which of the two is configured/,
    );
    const empty = await refusal(mixed(nowhere, here));
    expect(empty).toContain("is empty, but the bucket");
    expect(empty).toContain("run `holdfast rebuild`");
    const lost = await refusal(mixed(here, nowhere));
    expect(lost).toContain("holds nothing of it: correct which of the two is configured");
    // Nothing was changed by that.
    await use(here);
  });

  test("metadata of a newer program, and what is being rebuilt", async () => {
    await using place = await newPlace(kind);
    await use(place);
    const store = await open(place.env);
    try {
      const { entries } = await store.get([keys.schema]);
      const schema = entries[0]?.value ?? "";
      await store.commit({ put: [{ key: keys.schema, value: JSON.stringify({ version: 99 }) }] });
      expect(await refusal(place.env)).toContain(
        "has schema version 99, this program knows up to 1: start the newer Holdfast",
      );
      await store.commit({
        put: [
          { key: keys.schema, value: schema },
          { key: keys.restoring, value: "{}" },
        ],
      });
      expect(await refusal(place.env)).toContain("holdfast rebuild");
      await store.commit({ delete: [keys.restoring] });
    } finally {
      await store.close();
    }
    await use(place);
  });

  test("a bucket written by a newer program", async () => {
    await using place = await newPlace(kind);
    await use(place);
    const record = place.pathOf("holdfast.json");
    const { installation } = JSON.parse(readFileSync(record, "utf8")) as { installation: string };
    writeFileSync(record, JSON.stringify({ format: 99, installation }));
    expect(await refusal(place.env)).toContain("has format 99, this program knows up to 1");
  });

  test("wrong keys, a missing bucket, nobody at the endpoint", async () => {
    await using place = await newPlace(kind);
    const change = (name: string, value: string): Env => ({ ...place.env, [name]: value });
    expect(await refusal(change("HOLDFAST_STORAGE_S3_SECRET_ACCESS_KEY", "wrong"))).toContain(
      "storage.s3.secretAccessKey",
    );
    expect(await refusal(change("HOLDFAST_STORAGE_S3_ACCESS_KEY_ID", "nobody"))).toContain(
      "storage.s3.accessKeyId",
    );
    expect(await refusal(change("HOLDFAST_STORAGE_S3_BUCKET", "absent"))).toContain(
      'no bucket "absent"',
    );
    const nobody = `http://127.0.0.1:${freePort()}`;
    expect(await refusal(change("HOLDFAST_STORAGE_S3_ENDPOINT", nobody))).toContain(
      "storage.s3.endpoint",
    );
  });
}

describeWith(["versitygw"], "refused at the start:", () => {
  describePostgres("PostgreSQL:", () => {
    installations("postgres", (env) => {
      const url = new URL(env["HOLDFAST_METADATA_POSTGRES_URL"] ?? "");
      return openPostgres({
        hosts: [{ host: url.hostname, port: Number(url.port) }],
        user: url.username,
        database: url.pathname.slice(1),
      });
    });

    test("wrong password, no such database, no rights, read-only, nobody there", async () => {
      await using server = await startPostgres({
        access: ["host all locked 127.0.0.1/32 scram-sha-256"],
      });
      const { env } = await newBucketPlace();
      const at = (url: string): Promise<string> =>
        refusal({ ...env, HOLDFAST_METADATA_POSTGRES_URL: url });
      server.sql("CREATE ROLE locked LOGIN PASSWORD 'right'");
      server.sql("CREATE ROLE poor LOGIN");
      server.sql("CREATE DATABASE frozen");
      server.sql("ALTER DATABASE frozen SET default_transaction_read_only = on");
      const { port } = server;
      const wrong = await at(`postgres://locked:wrong@127.0.0.1:${port}/postgres`);
      expect(wrong).toContain("correct user and password in metadata.postgres.url");
      expect(wrong).not.toContain("wrong@");
      expect(await at(server.urlOf("absent"))).toMatch(/"absent".*metadata\.postgres\.url/);
      expect(await at(server.urlOf("postgres", "poor"))).toMatch(/"poor".*(OWNER TO|GRANT)/);
      expect(await at(server.urlOf("frozen"))).toContain("default_transaction_read_only");
      const nobody = await at(`postgres://postgres@127.0.0.1:${freePort()}/postgres`);
      expect(nobody).toContain("metadata.postgres.url");
      // One that accepts connections and says nothing.
      server.freeze();
      try {
        expect(await at(server.url)).toContain("metadata.postgres.url");
      } finally {
        server.thaw();
      }
    });
  });

  describeEtcd("etcd:", () => {
    installations("etcd", (env) =>
      openEtcd({
        endpoints: JSON.parse(env["HOLDFAST_METADATA_ETCD_ENDPOINTS"] ?? "[]") as string[],
        prefix: env["HOLDFAST_METADATA_ETCD_PREFIX"] ?? "",
      }),
    );

    test("wrong password, nobody there, nobody who answers", async () => {
      await using etcd = await startEtcd();
      const { env } = await newBucketPlace();
      const at = (more: Env): Promise<string> =>
        refusal({
          ...env,
          HOLDFAST_METADATA_ETCD_ENDPOINTS: JSON.stringify(etcd.endpoints),
          ...more,
        });
      etcd.ctl("user", "add", "root:right");
      etcd.ctl("user", "grant-role", "root", "root");
      etcd.ctl("auth", "enable");
      const wrong = await at({
        HOLDFAST_METADATA_ETCD_USERNAME: "root",
        HOLDFAST_METADATA_ETCD_PASSWORD: "wrong",
      });
      expect(wrong).toContain("metadata.etcd.password");
      expect(wrong).not.toContain("wrong\n");
      expect(await at({})).toContain("metadata.etcd.username");
      const nobody = [`http://127.0.0.1:${freePort()}`];
      expect(await at({ HOLDFAST_METADATA_ETCD_ENDPOINTS: JSON.stringify(nobody) })).toContain(
        "metadata.etcd.endpoints",
      );
      for (const member of etcd.members) member.signal("SIGSTOP");
      expect(await at({})).toContain("metadata.etcd.endpoints");
    });
  });
});
