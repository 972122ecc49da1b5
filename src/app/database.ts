/** The database of the shared shape, opened by any process of a node. */
import type { DatabaseConfig, EtcdConfig, PostgresConfig } from "../config/config.ts";
import { openEtcd, type EtcdOptions } from "../meta/etcd/index.ts";
import { openPostgres, type PostgresOptions } from "../meta/postgres/index.ts";
import type { MetaStore, Revision } from "../meta/port.ts";

export interface Database {
  readonly store: MetaStore;
  /** Lets it forget its history up to a revision, where it does not by itself. */
  readonly forget?: (revision: Revision) => Promise<void>;
}

/** `above`: for a database that is built anew, as the engines have it. Throws `StoreUnavailable` with what is to be done. */
export async function openDatabase(config: DatabaseConfig, above?: Revision): Promise<Database> {
  const floor = above === undefined ? {} : { above };
  if (config.kind === "postgres") {
    const store = await openPostgres({ ...postgresOptions(config), ...floor });
    return { store, forget: (revision) => store.compact(revision) };
  }
  const store = await openEtcd({ ...etcdOptions(config), ...floor });
  return { store, forget: (revision) => store.compact(revision) };
}

/** For messages. */
export function databaseName(config: DatabaseConfig): string {
  if (config.kind === "etcd") return `etcd at ${config.endpoints.join(", ")}`;
  const hosts = config.hosts.map(({ host, port }) => `${host}:${port}`).join(",");
  return `PostgreSQL database ${config.database} at ${hosts}`;
}

export function etcdOptions({ endpoints, prefix, credentials, tls }: EtcdConfig): EtcdOptions {
  const { ca, client } = tls;
  return {
    endpoints,
    prefix,
    ...(credentials === undefined
      ? {}
      : { username: credentials.username, password: credentials.password.text }),
    ...(ca === undefined && client === undefined
      ? {}
      : {
          tls: {
            ...(ca === undefined ? {} : { ca: ca.text }),
            ...(client === undefined ? {} : { cert: client.cert.text, key: client.key.text }),
          },
        }),
  };
}

function postgresOptions(config: PostgresConfig): PostgresOptions {
  const { hosts, database, user, password, tls, connections } = config;
  return {
    hosts,
    database,
    user,
    ...(password === undefined ? {} : { password: password.text }),
    tls: { mode: tls.mode, ...(tls.ca === undefined ? {} : { ca: tls.ca.text }) },
    connections,
  };
}
