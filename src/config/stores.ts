import type { Milliseconds } from "./duration.ts";

/** Where metadata and bytes are kept. The shape `shared` is the last kind, `solo` the others. */
export type Stores =
  /** Both in the data directory. */
  | { readonly kind: "files" }
  /** Bytes and journal in a bucket that one node owns; the data directory is a cache of it. */
  | { readonly kind: "bucket-solo"; readonly bucket: BucketConfig }
  /** Any number of nodes; nothing in the data directory matters. */
  | { readonly kind: "shared"; readonly database: DatabaseConfig; readonly bucket: BucketConfig };

/** The text of a file, or a secret that may come from one. The text of a secret is never printed or logged. */
export interface Secret {
  /** As written, or the content of the file without final line breaks; not empty. */
  readonly text: string;
  /** Absolute path; `undefined`: written in the configuration itself. */
  readonly file: string | undefined;
}

/** A PEM file as it was read at the start. */
export interface PemFile {
  readonly text: string;
  /** Absolute path. */
  readonly file: string;
}

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

export type DatabaseConfig = PostgresConfig | EtcdConfig;

export interface PostgresConfig {
  readonly kind: "postgres";
  /** At least one; of several, the one that takes writes is meant. */
  readonly hosts: readonly PostgresHost[];
  readonly database: string;
  readonly user: string;
  /** Its `file` is `urlFile` where it stands in that. */
  readonly password: Secret | undefined;
  /** Absolute path of the file that held the address. */
  readonly urlFile: string | undefined;
  readonly tls: {
    /** `prefer`: when the server can; `require`: encrypted, whoever answers; `verify-full`: certificate and name checked. */
    readonly mode: PostgresTlsMode;
    /** Authorities trusted instead of the system's; only with `verify-full`. */
    readonly ca: PemFile | undefined;
  };
  /** Most connections of one process. */
  readonly connections: number;
}

export const postgresTlsModes = ["disable", "prefer", "require", "verify-full"] as const;
export type PostgresTlsMode = (typeof postgresTlsModes)[number];

export interface PostgresHost {
  /** Host name or address without brackets; or, beginning with `/`, the directory of a unix socket. */
  readonly host: string;
  readonly port: number;
}

export interface EtcdConfig {
  readonly kind: "etcd";
  /** Origins without a final slash; at least one, all http or all https. */
  readonly endpoints: readonly string[];
  /** All keys begin with it; ends with `/`. */
  readonly prefix: string;
  readonly credentials: { readonly username: string; readonly password: Secret } | undefined;
  readonly tls: {
    /** Authorities trusted instead of the system's. */
    readonly ca: PemFile | undefined;
    /** The client's own certificate chain and its private key. */
    readonly client: { readonly cert: PemFile; readonly key: PemFile } | undefined;
  };
}
