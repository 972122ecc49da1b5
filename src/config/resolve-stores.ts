import type { Findings, Settings } from "./problem.ts";
import { resolveS3, resolveStorj } from "./resolve-bucket.ts";
import { resolveEtcd, resolvePostgres } from "./resolve-database.ts";
import type { SchemaOutput } from "./schema.ts";
import { Section } from "./section.ts";
import type { BucketConfig, DatabaseConfig, Stores } from "./stores.ts";

/** Which shape a registry on these stores has. */
export function shapeOf(stores: Stores): "solo" | "shared" {
  return stores.kind === "shared" ? "shared" : "solo";
}

/** What is written of `metadata` and `storage` makes the stores. `undefined` when there are problems; they are in `findings`. */
export function resolveStores(
  data: SchemaOutput,
  settings: Settings,
  cwd: string,
  findings: Findings,
): Stores | undefined {
  const section = (path: string) => new Section(path, settings, cwd, findings);
  const postgres = section("metadata.postgres");
  const etcd = section("metadata.etcd");
  const s3 = section("storage.s3");
  const storj = section("storage.storj");
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
  if (shape === "shared" && !database) {
    const lacking = bucket
      ? "there is no database; set metadata.postgres or metadata.etcd"
      : "there is neither database nor bucket; set metadata.postgres or metadata.etcd, and storage.s3 or storage.storj";
    at.problem("", `${lacking}, or write shape: solo`);
  }
}
