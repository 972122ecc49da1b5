import type { DatabaseConfig } from "./database.ts";
import type { Config } from "./config.ts";
import type { Findings, Settings } from "./problem.ts";
import { resolveS3, resolveStorj } from "./resolve-bucket.ts";
import { resolveCluster } from "./resolve-cluster.ts";
import { resolveEtcd, resolvePostgres } from "./resolve-database.ts";
import type { SchemaOutput } from "./schema.ts";
import { Section } from "./section.ts";
import type { BucketConfig, Stores } from "./stores.ts";

/** Which shape a registry on these stores has. */
export function shapeOf({ kind }: Stores): Config["shape"] {
  return kind === "shared" || kind === "cluster" ? kind : "solo";
}

/** What defaults and paths depend on. */
export interface Place {
  /** Where relative paths start. */
  readonly cwd: string;
  readonly hostName: string;
}

/** What is written of `metadata`, `storage` and `cluster` makes the stores. `undefined` when there are problems; they are in `findings`. */
export function resolveStores(
  data: SchemaOutput,
  settings: Settings,
  { cwd, hostName }: Place,
  findings: Findings,
): Stores | undefined {
  const section = (path: string) => new Section(path, settings, cwd, findings);
  const postgres = section("metadata.postgres");
  const etcd = section("metadata.etcd");
  const s3 = section("storage.s3");
  const storj = section("storage.storj");
  const cluster = section("cluster");
  if (cluster.written) {
    const others = [postgres, etcd, s3, storj].filter(({ written }) => written);
    for (const other of others)
      other.problem(
        "",
        "cluster is set too, which keeps metadata and bytes on the nodes' own disks; set only one of the two",
      );
    checkCluster(data, section("shape"));
    const sections = { cluster, etcd: section("cluster.etcd"), cwd, hostName };
    const resolved = resolveCluster(data, sections);
    return resolved && { kind: "cluster", cluster: resolved };
  }
  if (refuseBoth(postgres, etcd) || refuseBoth(s3, storj)) return undefined;
  const database = [postgres, etcd].find(({ written }) => written);
  const bucket = [s3, storj].find(({ written }) => written);
  if (database && !bucket)
    database.problem(
      "",
      "a database without a bucket would leave the bytes in local files, which no other node sees; set storage.s3 or storage.storj, or remove this section",
    );
  const stores = {
    bucket: resolveBucket(data, s3, storj),
    database: resolveDatabase(data, postgres, etcd),
  };
  checkShape(data, database, bucket, section("shape"));
  if (!database && !bucket) return { kind: "files" };
  if (!stores.bucket) return undefined;
  if (!database) return { kind: "bucket-solo", bucket: stores.bucket };
  return stores.database && { kind: "shared", database: stores.database, bucket: stores.bucket };
}

function checkCluster({ shape }: SchemaOutput, at: Section): void {
  if (shape !== undefined && shape !== "cluster")
    at.problem(
      "",
      "the section cluster makes it a cluster; write shape: cluster, or remove that section",
    );
}

function refuseBoth(one: Section, other: Section): boolean {
  if (!one.written || !other.written) return false;
  other.problem("", `${one.path} is set too; set only one of the two`);
  return true;
}

function resolveBucket(data: SchemaOutput, s3: Section, storj: Section): BucketConfig | undefined {
  if (s3.written) return resolveS3(data.storage.s3, s3);
  return storj.written ? resolveStorj(data.storage.storj, storj) : undefined;
}

function resolveDatabase(
  data: SchemaOutput,
  postgres: Section,
  etcd: Section,
): DatabaseConfig | undefined {
  if (postgres.written) return resolvePostgres(data.metadata.postgres, postgres);
  return etcd.written ? resolveEtcd(data.metadata.etcd, etcd) : undefined;
}

/** The assertion `shape` against what the rest says. */
function checkShape(
  { shape }: SchemaOutput,
  database: Section | undefined,
  bucket: Section | undefined,
  at: Section,
): void {
  if (shape === "solo" && database)
    at.problem("", `${database.path} makes it shared; write shape: shared, or remove that section`);
  if (shape === "cluster")
    at.problem("", "there is no section cluster; set cluster.members, or write another shape");
  if (shape === "shared" && !database) {
    const lacking = bucket
      ? "there is no database; set metadata.postgres or metadata.etcd"
      : "there is neither database nor bucket; set metadata.postgres or metadata.etcd, and storage.s3 or storage.storj";
    at.problem("", `${lacking}, or write shape: solo`);
  }
}
