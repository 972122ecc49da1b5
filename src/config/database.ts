import type { PemFile, Secret } from "./secret.ts";

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
