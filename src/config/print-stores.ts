import type { ClusterConfig, SupervisedEtcdConfig } from "./cluster.ts";
import type { DatabaseConfig, EtcdConfig, PostgresConfig } from "./database.ts";
import { formatDuration } from "./duration.ts";
import { formatListen } from "./listen.ts";
import { formatPostgresUrl } from "./postgres-url.ts";
import { masked, type PemFile, type Secret } from "./secret.ts";
import type { BucketConfig, S3Config, StorjConfig, Stores } from "./stores.ts";

type Written = Record<string, unknown>;

/** The sections `metadata` and `storage`, or `cluster`, as one would write them; a secret that is not in a file is masked. */
export function writtenStores(stores: Stores): Written {
  if (stores.kind === "files") return {};
  if (stores.kind === "cluster") return { cluster: writtenCluster(stores.cluster) };
  const storage = { [stores.bucket.kind]: writtenBucket(stores.bucket) };
  if (stores.kind === "bucket-solo") return { storage };
  return { metadata: { [stores.database.kind]: writtenDatabase(stores.database) }, storage };
}

function writtenBucket(bucket: BucketConfig): Written {
  const { redirect } = bucket;
  return {
    bucket: bucket.bucket,
    prefix: bucket.prefix,
    ...(bucket.kind === "s3" ? writtenS3(bucket) : writtenStorj(bucket)),
    redirect: { ...redirect, ttl: formatDuration(redirect.ttl) },
  };
}

function writtenS3({ endpoint, region, pathStyle, credentials, ca }: S3Config): Written {
  return {
    ...given({ endpoint }),
    region,
    pathStyle,
    ...secret("accessKeyId", credentials?.accessKeyId),
    ...secret("secretAccessKey", credentials?.secretAccessKey),
    ...secret("sessionToken", credentials?.sessionToken),
    ...pem("ca", ca),
  };
}

function writtenStorj({ accessGrant, authService, endpoint }: StorjConfig): Written {
  return { ...secret("accessGrant", accessGrant), authService, ...given({ endpoint }) };
}

function writtenDatabase(database: DatabaseConfig): Written {
  return database.kind === "postgres" ? writtenPostgres(database) : writtenEtcd(database);
}

function writtenPostgres(database: PostgresConfig): Written {
  const { urlFile, password, connections, tls } = database;
  const address = urlFile === undefined ? { url: formatPostgresUrl(database) } : { urlFile };
  const inUrlFile = password?.file !== undefined && password.file === urlFile;
  return {
    ...address,
    ...(inUrlFile ? {} : secret("password", password)),
    connections,
    tls: { mode: tls.mode, ...pem("ca", tls.ca) },
  };
}

function writtenEtcd({ endpoints, prefix, credentials, tls }: EtcdConfig): Written {
  const paths = {
    ...pem("ca", tls.ca),
    ...pem("cert", tls.client?.cert),
    ...pem("key", tls.client?.key),
  };
  return {
    endpoints,
    prefix,
    ...given({ username: credentials?.username }),
    ...secret("password", credentials?.password),
    ...(Object.keys(paths).length > 0 && { tls: paths }),
  };
}

function writtenCluster(cluster: ClusterConfig): Written {
  const { node, members, join, address, listen, secret: shared, etcd, healing } = cluster;
  return {
    node,
    ...(join.length > 0 ? { join } : { members }),
    address,
    listen: formatListen(listen),
    ...secret("secret", shared),
    copies: cluster.copies,
    durableCopies: cluster.durableCopies,
    ...given({ zone: cluster.zone }),
    downAfter: formatDuration(cluster.downAfter),
    etcd: etcd.kind === "supervised" ? writtenSupervised(etcd) : writtenEtcd(etcd),
    healing,
  };
}

function writtenSupervised(etcd: SupervisedEtcdConfig): Written {
  const { peerPort, clientPort, binary, heartbeat, electionTimeout } = etcd;
  return {
    peerPort,
    clientPort,
    ...given({ binary }),
    heartbeat: formatDuration(heartbeat),
    electionTimeout: formatDuration(electionTimeout),
  };
}

function given(values: Written): Written {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined));
}

function secret(name: string, value: Secret | undefined): Written {
  if (!value) return {};
  return value.file === undefined
    ? { [name]: masked(value.text) }
    : { [`${name}File`]: value.file };
}

function pem(name: string, value: PemFile | undefined): Written {
  return value ? { [name]: value.file } : {};
}
