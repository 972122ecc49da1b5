import { actions, type Action } from "./action.ts";
import type { AddressRange } from "./address-range.ts";
import type { Milliseconds } from "./duration.ts";
import type { ListenAddress } from "./listen.ts";
import type { Bytes } from "./size.ts";
import type { Stores } from "./stores.ts";

export type { Action, AddressRange, Bytes, ListenAddress, Milliseconds };
export type * from "./cluster.ts";
export type * from "./database.ts";
export type { PemFile, Secret } from "./secret.ts";
export type * from "./stores.ts";
export { actions };
export { ConfigError } from "./problem.ts";

/** The configuration as the program uses it: checked, complete and deeply frozen. Paths are absolute. */
export interface Config {
  /** Follows from `stores`. */
  readonly shape: "solo" | "shared" | "cluster";
  readonly stores: Stores;
  /** At least one. */
  readonly listen: readonly ListenAddress[];
  /** The data directory; it need not exist yet. With a bucket nothing in it has to outlive the machine. */
  readonly data: string;
  /** Processes that answer requests, 1–256; always 1 elsewhere than on Linux. */
  readonly workers: number;
  readonly metrics: {
    /** `undefined`: no metrics are served. */
    readonly listen: ListenAddress | undefined;
  };
  readonly log: {
    readonly level: "debug" | "info" | "warn" | "error";
    /** `auto`: text on a terminal, else json. */
    readonly format: "auto" | "json" | "text";
    /** One line for every request. */
    readonly requests: boolean;
  };
  /** Paths of PEM files; `undefined`: plain HTTP. */
  readonly tls: { readonly cert: string; readonly key: string } | undefined;
  /** Origin without a final slash, such as `https://registry.example.com`. */
  readonly publicUrl: string | undefined;
  readonly trustedProxies: readonly AddressRange[];
  readonly auth: AnonymousAccess;
  readonly validation: {
    /** A pushed manifest whose config or layers are not in the repository. */
    readonly missingBlobs: "reject" | "accept";
    /** A pushed index whose manifests are not in the repository. */
    readonly missingManifests: "reject" | "accept";
  };
  readonly drain: { readonly timeout: Milliseconds };
  readonly uploads: { readonly expiry: Milliseconds; readonly purgeInterval: Milliseconds };
  readonly collection: {
    /** How far back the journal goes: the metadata can be rebuilt to any moment of it. */
    readonly grace: Milliseconds;
  };
  readonly limits: Limits;
}

/** What anyone may do, in every repository, without a name. */
export interface AnonymousAccess {
  /** In the order pull, push, delete; without duplicates. */
  readonly anonymous: readonly Action[];
  /**
   * Why it is so: `written` in the configuration; all listeners are `loopback`; some are `reachable` from elsewhere; or
   * `distribution`, whose `storage.delete.enabled` decides.
   */
  readonly because: "written" | "loopback" | "reachable" | "distribution";
}

/** Bounds on requests. */
export interface Limits {
  /** Largest manifest. */
  readonly manifestBytes: Bytes;
  /** Largest blob; 0: no limit. */
  readonly blobBytes: Bytes;
  /** Largest page of a referrers answer. */
  readonly referrersPageBytes: Bytes;
  /** Descriptors in one manifest. */
  readonly descriptors: number;
  /** Nesting of a manifest's JSON. */
  readonly jsonDepth: number;
  /** `?tag=` parameters of one manifest push. */
  readonly tagsPerPush: number;
  /** Entries in one page of a listing; a larger `n` is cut to it. */
  readonly pageEntries: number;
  /** Entries of a `_catalog` page without `n`; ≤ `pageEntries`. */
  readonly catalogEntries: number;
  /** Request bodies that each worker receives at once. */
  readonly concurrentUploads: number;
  /** Time without a byte that ends an upload request. */
  readonly uploadIdle: Milliseconds;
  /** Bytes a second, on average over `uploadIdle`, below which an upload request is ended; 0: none. */
  readonly uploadRate: Bytes;
}

/** Why an anonymous client is refused an action, with the remedy, for an error's detail; `undefined` when it is allowed. */
export function anonymousRefusal(access: AnonymousAccess, action: Action): string | undefined {
  if (access.anonymous.includes(action)) return undefined;
  if (access.because === "reachable")
    return `${action} is off because this registry listens beyond loopback and has no authentication; write auth: { anonymous: [pull, push, delete] } to allow it to anyone`;
  if (access.because === "distribution")
    return `${action} is off because storage.delete.enabled is not true in the configuration`;
  return `${action} is not listed in auth.anonymous`;
}
