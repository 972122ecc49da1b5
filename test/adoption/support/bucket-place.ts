/** A bucket of a test's own on a real S3 server, as distribution and Holdfast are told of it. */
import { existsSync, mkdirSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { startVersitygw, type Versitygw } from "../../support/versitygw.ts";
import { place } from "./place.ts";

export interface BucketPlace extends AsyncDisposable {
  readonly s3: Versitygw;
  /** Empty or ending with `/`. */
  readonly prefix: string;
  /** For files that are no data directory of anybody. */
  readonly home: string;
  /** Where the objects below the prefix are files. */
  readonly files: string;
  /** A `config.yml` that distribution and Holdfast both are started with. */
  config(host: string, options?: { readonly redirect?: boolean }): string;
  /** Objects of Holdfast's own that hold bytes of blobs; names below the prefix. */
  ownBlobs(): string[];
}

const BUCKET = "images";

export async function bucketPlace(prefix = ""): Promise<BucketPlace> {
  const here = place();
  const s3 = await startVersitygw();
  await s3.createBucket(BUCKET);
  const files = join(s3.directory, BUCKET, prefix);
  mkdirSync(files, { recursive: true });
  return {
    s3,
    prefix,
    home: here.home,
    files,
    config: (host, { redirect = false } = {}) =>
      [
        "version: 0.1",
        "log: { level: info }",
        "storage:",
        "  s3:",
        `    bucket: ${BUCKET}`,
        "    region: us-east-1",
        `    regionendpoint: ${s3.endpoint}`,
        "    forcepathstyle: true",
        `    accesskey: ${s3.accessKeyId}`,
        `    secretkey: ${s3.secretAccessKey}`,
        "    chunksize: 5242880",
        ...(prefix === "" ? [] : [`    rootdirectory: /${prefix.slice(0, -1)}`]),
        `  redirect: { disable: ${!redirect} }`,
        "  delete: { enabled: true }",
        `http: { addr: "${host}" }`,
        "",
      ].join("\n"),
    ownBlobs: () => ["blobs", "large", "data"].flatMap((top) => filesBelow(files, top)),
    async [Symbol.asyncDispose]() {
      await s3[Symbol.asyncDispose]();
      here[Symbol.dispose]();
    },
  };
}

function filesBelow(root: string, top: string): string[] {
  if (!existsSync(join(root, top))) return [];
  return readdirSync(join(root, top), { recursive: true, encoding: "utf8" })
    .map((name) => join(top, name))
    .filter((name) => statSync(join(root, name)).isFile());
}
