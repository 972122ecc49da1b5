/** What distribution's S3 driver can be told (docs/content/storage-drivers/s3.md of v3), and the Storj driver of its fork. */
import type { DistributionTree } from "./distribution-tree.ts";
import {
  isFalse,
  isTrue,
  text,
  unprotected,
  type Mapping,
  type Skip,
  type Stop,
} from "./distribution-values.ts";

/** The S3 driver has two names. */
const drivers = ["storage.s3", "storage.s3aws"] as const;

const usesS3 = (tree: DistributionTree): boolean =>
  tree.names("storage").some((name) => drivers.includes(`storage.${name}` as (typeof drivers)[0]));

const usesStorj = (tree: DistributionTree): boolean => tree.names("storage").includes("storj");

const bool = (value: unknown): unknown => {
  if (isTrue(value)) return true;
  return isFalse(value) ? false : text(value);
};

const hasScheme = (endpoint: unknown): boolean => String(endpoint).includes("://");

/** Without a scheme, `secure` says which. */
const endpointOf =
  (driver: string) =>
  (value: unknown, tree: DistributionTree): unknown => {
    const endpoint = text(value);
    if (typeof endpoint !== "string" || hasScheme(endpoint)) return endpoint;
    return `${isFalse(tree.get(`${driver}.secure`)) ? "http" : "https"}://${endpoint}`;
  };

const s3 = (driver: string): readonly Mapping[] => [
  { from: `${driver}.bucket`, to: "storage.s3.bucket", read: text },
  { from: `${driver}.rootdirectory`, to: "storage.s3.prefix", read: text },
  { from: `${driver}.region`, to: "storage.s3.region", read: text },
  { from: `${driver}.regionendpoint`, to: "storage.s3.endpoint", read: endpointOf(driver) },
  { from: `${driver}.forcepathstyle`, to: "storage.s3.pathStyle", read: bool },
  { from: `${driver}.accesskey`, to: "storage.s3.accessKeyId", read: text },
  { from: `${driver}.secretkey`, to: "storage.s3.secretAccessKey", read: text },
  { from: `${driver}.sessiontoken`, to: "storage.s3.sessionToken", read: text },
];

export const storageMapped: readonly Mapping[] = [
  ...drivers.flatMap(s3),
  {
    from: "storage.redirect.disable",
    to: "storage.s3.redirect.enabled",
    // distribution redirects unless it is told not to.
    read: (value, tree) => (usesS3(tree) ? !isTrue(value) : undefined),
  },
  { from: "storage.storj.bucket", to: "storage.storj.bucket", read: text },
  { from: "storage.storj.accessgrant", to: "storage.storj.accessGrant", read: text },
];

export const storageStops: readonly Stop[] = drivers.map((driver) => ({
  path: `${driver}.encrypt`,
  applies: (tree) => isTrue(tree.get(`${driver}.encrypt`)),
  why: `${unprotected}; switch on default encryption of the bucket, which covers every object, and remove it`,
}));

const s3Skipped = (driver: string): readonly Skip[] => [
  {
    path: `${driver}.skipverify`,
    why: "certificates are always checked; storage.s3.ca (HOLDFAST_STORAGE_S3_CA) names an authority of your own",
    applies: (tree) => isTrue(tree.get(`${driver}.skipverify`)),
  },
  {
    path: `${driver}.secure`,
    why: "AWS is spoken to by https only",
    applies: (tree) =>
      isFalse(tree.get(`${driver}.secure`)) &&
      text(tree.get(`${driver}.regionendpoint`)) === undefined,
  },
  {
    path: `${driver}.v4auth`,
    why: "requests are always signed by version 4",
    applies: (tree) => isFalse(tree.get(`${driver}.v4auth`)),
  },
  {
    path: `${driver}.storageclass`,
    why: "objects get the bucket's own class",
    applies: (tree) => notOneOf(tree.get(`${driver}.storageclass`), ["STANDARD", "NONE"]),
  },
  {
    path: `${driver}.objectacl`,
    why: "objects get the bucket's own access rules",
    applies: (tree) => notOneOf(tree.get(`${driver}.objectacl`), ["PRIVATE"]),
  },
  {
    path: `${driver}.accelerate`,
    why: "the usual endpoint is used",
    applies: (tree) => isTrue(tree.get(`${driver}.accelerate`)),
  },
  {
    path: `${driver}.usedualstack`,
    why: "the usual endpoint is used",
    applies: (tree) => isTrue(tree.get(`${driver}.usedualstack`)),
  },
  { path: `${driver}.chunksize`, why: "parts have a size that fits the blob" },
  ...["chunksize", "maxconcurrency", "thresholdsize"].map((name) => ({
    path: `${driver}.multipartcopy${name}`,
    why: "nothing is copied inside the bucket",
  })),
  { path: `${driver}.useragent`, why: "requests carry the program's own name" },
  { path: `${driver}.loglevel`, why: "log.level says what is logged" },
];

export const storageSkipped: readonly Skip[] = [
  ...drivers.flatMap(s3Skipped),
  {
    path: "storage.redirect",
    why: "distribution does not redirect to Storj; storage.storj.redirect switches it on",
    applies: usesStorj,
  },
  {
    path: "storage.redirect",
    why: "files are always served directly",
    applies: (tree) => !usesS3(tree),
  },
];

/** Options at the value that changes nothing, or that another option already speaks for. */
export const storageSilent: readonly string[] = drivers.flatMap((driver) =>
  [
    "secure",
    "skipverify",
    "v4auth",
    "keyid",
    "storageclass",
    "objectacl",
    "accelerate",
    "usedualstack",
  ].map((name) => `${driver}.${name}`),
);

function notOneOf(value: unknown, harmless: readonly string[]): boolean {
  const written = text(value);
  const isHarmless = typeof written === "string" && harmless.includes(written.toUpperCase());
  return written !== undefined && !isHarmless;
}
