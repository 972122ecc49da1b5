import { formatDuration } from "./duration.ts";
import { formatPostgresUrl } from "./postgres-url.ts";
import { masked } from "./secret.ts";
import type {
  BucketConfig,
  DatabaseConfig,
  EtcdConfig,
  PemFile,
  PostgresConfig,
  S3Config,
  Secret,
  StorjConfig,
  Stores,
} from "./stores.ts";

type Written = Record<string, unknown>;

/** The sections `metadata` and `storage` as one would write them; a secret that is not in a file is masked. */
export function writtenStores(stores: Stores): Written {
  if (stores.kind === "files") return {};
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
