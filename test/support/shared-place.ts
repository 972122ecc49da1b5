/**
 * Where the nodes of one installation keep their things in tests: a database and a bucket's prefix of their own, on
 * real servers that are started once for the whole test process. Suites that come here in several files are run with
 * `--preload` of this module, so that the servers end after the last of them.
 */
import { afterAll } from "bun:test";
import { SQL } from "bun";
import { join } from "node:path";
import { placeOf } from "../../src/blobs/s3/names.ts";
import { startCeph, type Ceph } from "./ceph.ts";
import { startEtcd, type TestEtcd } from "./etcd.ts";
import { startPostgres, type TestPostgres } from "./postgres.ts";
import type { S3Server } from "./s3-server.ts";
import { startVersitygw, type Versitygw } from "./versitygw.ts";

export type DatabaseKind = "postgres" | "etcd";

/** What several nodes keep their things in. */
export type StoresKind = DatabaseKind | "cluster";
const KINDS: readonly StoresKind[] = ["postgres", "etcd", "cluster"];

/** The stores that HOLDFAST_TEST_STORES names for suites that run on any; `undefined`: solo. */
export function storesOfSuite(): StoresKind | undefined {
  const name = process.env["HOLDFAST_TEST_STORES"];
  const kind = KINDS.find((known) => known === name);
  if (kind !== undefined || name === undefined) return kind;
  throw new Error(`HOLDFAST_TEST_STORES is ${name}: set it to ${KINDS.join(", ")}, or not at all`);
}

export interface SharedPlace extends AsyncDisposable {
  /** What leads a node here. */
  readonly env: Readonly<Record<string, string>>;
  /** The file that has a blob's bytes. */
  pathOf(locator: string): string;
}

const BUCKET = "images";

const running: AsyncDisposable[] = [];
let bucket: Promise<Versitygw> | undefined;
let postgres: Promise<{ readonly server: TestPostgres; readonly admin: SQL }> | undefined;
let etcd: Promise<TestEtcd> | undefined;
let ceph: Promise<Ceph> | undefined;
let places = 0;

afterAll(async () => {
  bucket = postgres = etcd = ceph = undefined;
  emptied.splice(0);
  for (const server of running.splice(0)) await server[Symbol.asyncDispose]();
});

/** A new database and a new part of the bucket. */
export async function newPlace(kind: DatabaseKind): Promise<SharedPlace> {
  const [{ env, pathOf }, database] = await Promise.all([
    newBucketPlace(),
    kind === "postgres" ? newDatabase(nextName()) : newPrefix(nextName()),
  ]);
  return {
    env: { ...env, ...database.env },
    pathOf,
    [Symbol.asyncDispose]: () => database.drop(),
  };
}

/** A new part of the bucket alone. */
export async function newBucketPlace(): Promise<Pick<SharedPlace, "env" | "pathOf">> {
  bucket ??= openBucket();
  const s3 = await bucket;
  const prefix = `${nextName()}/`;
  return {
    env: bucketEnv(s3, BUCKET, prefix),
    pathOf: (locator) => join(s3.directory, BUCKET, prefix, placeOf(locator)?.key ?? locator),
  };
}

function nextName(): string {
  return `t${++places}`;
}

export function bucketEnv(
  s3: Pick<S3Server, "endpoint" | "accessKeyId" | "secretAccessKey">,
  name: string,
  prefix = "",
): Record<string, string> {
  return {
    HOLDFAST_STORAGE_S3_BUCKET: name,
    ...(prefix === "" ? {} : { HOLDFAST_STORAGE_S3_PREFIX: prefix }),
    HOLDFAST_STORAGE_S3_ENDPOINT: s3.endpoint,
    HOLDFAST_STORAGE_S3_REGION: "us-east-1",
    HOLDFAST_STORAGE_S3_PATH_STYLE: "true",
    HOLDFAST_STORAGE_S3_ACCESS_KEY_ID: s3.accessKeyId,
    HOLDFAST_STORAGE_S3_SECRET_ACCESS_KEY: s3.secretAccessKey,
  };
}

export function etcdEnv(endpoints: readonly string[], prefix?: string): Record<string, string> {
  return {
    HOLDFAST_METADATA_ETCD_ENDPOINTS: JSON.stringify(endpoints),
    ...(prefix === undefined ? {} : { HOLDFAST_METADATA_ETCD_PREFIX: prefix }),
  };
}

async function openBucket(): Promise<Versitygw> {
  const server = await startVersitygw();
  running.push(server);
  await server.createBucket(BUCKET);
  return server;
}

/** Another S3 server, for suites that want a second opinion. */
export function sharedCeph(): Promise<Ceph> {
  ceph ??= startCeph().then((server) => {
    running.push(server);
    return server;
  });
  return ceph;
}

interface Database {
  readonly env: Readonly<Record<string, string>>;
  drop(): Promise<void>;
}

/** Databases of tests that are over, emptied: to make one takes ten times as long. */
const emptied: { readonly url: string; readonly sql: SQL }[] = [];

async function newDatabase(name: string): Promise<Database> {
  postgres ??= openPostgres();
  const { server, admin } = await postgres;
  let database = emptied.pop();
  if (database === undefined) {
    await admin.unsafe(`CREATE DATABASE ${name}`);
    const url = server.urlOf(name);
    database = { url, sql: new SQL(url, { max: 1 }) };
  }
  const { url, sql } = database;
  return {
    env: { HOLDFAST_METADATA_POSTGRES_URL: url },
    async drop() {
      await sql.unsafe("DROP SCHEMA IF EXISTS holdfast CASCADE");
      emptied.push({ url, sql });
    },
  };
}

async function openPostgres(): Promise<{ readonly server: TestPostgres; readonly admin: SQL }> {
  // What survives a crash of the server is asked elsewhere.
  const server = await startPostgres({ settings: ["fsync = off", "max_connections = 200"] });
  const admin = new SQL(server.url, { max: 1 });
  running.push(server);
  return { server, admin };
}

async function newPrefix(name: string): Promise<Database> {
  etcd ??= openEtcd();
  const { endpoints } = await etcd;
  return { env: etcdEnv(endpoints, `${name}/`), drop: async () => {} };
}

async function openEtcd(): Promise<TestEtcd> {
  const server = await startEtcd();
  running.push(server);
  return server;
}
