import type { ClusterConfig } from "./cluster.ts";
import type { DatabaseConfig } from "./database.ts";
import type { Milliseconds } from "./duration.ts";
import type { PemFile, Secret } from "./secret.ts";

/** Where metadata and bytes are kept. The shapes `shared` and `cluster` are the kinds of that name, `solo` the others. */
export type Stores =
  /** Both in the data directory. */
  | { readonly kind: "files" }
  /** Bytes and journal in a bucket that one node owns; the data directory is a cache of it. */
  | { readonly kind: "bucket-solo"; readonly bucket: BucketConfig }
  /** Any number of nodes; nothing in the data directory matters. */
  | { readonly kind: "shared"; readonly database: DatabaseConfig; readonly bucket: BucketConfig }
  /** Several nodes that keep both on their own disks. */
  | { readonly kind: "cluster"; readonly cluster: ClusterConfig };

export type BucketConfig = S3Config | StorjConfig;

interface AnyBucket {
  readonly bucket: string;
  /** Empty, or ends with `/`; never begins with it. */
  readonly prefix: string;
  readonly redirect: RedirectConfig;
}

export interface S3Config extends AnyBucket {
  readonly kind: "s3";
  /** Origin without a final slash; `undefined`: AWS itself, in `region`. */
  readonly endpoint: string | undefined;
  readonly region: string;
  /** `https://host/bucket/key` rather than `https://bucket.host/key`. */
  readonly pathStyle: boolean;
  /** `undefined`: the standard chain of AWS (environment, files, web identity, instance). */
  readonly credentials: S3Credentials | undefined;
  /** Authorities trusted instead of the system's. */
  readonly ca: PemFile | undefined;
}

export interface S3Credentials {
  readonly accessKeyId: Secret;
  readonly secretAccessKey: Secret;
  readonly sessionToken: Secret | undefined;
}

export interface StorjConfig extends AnyBucket {
  readonly kind: "storj";
  /** Not checked here. */
  readonly accessGrant: Secret;
  /** Origin without a final slash; https, or http on loopback. */
  readonly authService: string;
  /** Origin of the S3 gateway; `undefined`: the one that the auth service names. */
  readonly endpoint: string | undefined;
}

/** Answering a blob's GET with a presigned address of the bucket. */
export interface RedirectConfig {
  readonly enabled: boolean;
  /** How long an address is good, 10 seconds to 7 days. */
  readonly ttl: Milliseconds;
  /** A client whose `User-Agent` contains one of these, in any case, gets the bytes from us. */
  readonly exceptUserAgents: readonly string[];
}
