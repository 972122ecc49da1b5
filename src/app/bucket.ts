/** The bucket of the configuration as parent and workers open it: plain values, credentials included. */
import type { ObjectStore } from "../blobs/objects.ts";
import type { BlobStore } from "../blobs/port.ts";
import {
  hasDistributionLayout,
  openMetaNotes,
  openS3Objects,
  openS3Store,
  probeS3,
  S3Failure,
  STORJ_FIELDS,
  type S3Capabilities,
  type S3Options,
} from "../blobs/s3/index.ts";
import { storjCredentials, type CredentialKeeper } from "../blobs/s3/storj/index.ts";
import type { Logger } from "../base/log.ts";
import type { MetaStore } from "../meta/port.ts";
import { Presence } from "../meta/presence.ts";
import type { BucketConfig, S3Credentials } from "../config/config.ts";

/** Can be sent to another process. */
export interface BucketAccess {
  readonly options: Omit<S3Options, "credentials"> & {
    readonly credentials?: {
      readonly accessKeyId: string;
      readonly secretAccessKey: string;
      readonly sessionToken?: string;
    };
  };
  /** What the store was found to honour. */
  readonly capabilities: S3Capabilities;
  /** Whether distribution has left its images below the prefix. */
  readonly holdsDistribution: boolean;
}

const EXPIRY_WARNING_MS = 30 * 86_400_000;

/** For messages: `bucket "images" at https://s3.example.com`. */
export function bucketName(bucket: BucketConfig): string {
  const { prefix } = bucket;
  const where =
    bucket.kind === "storj" ? "Storj" : (bucket.endpoint ?? `Amazon S3 (${bucket.region})`);
  return `bucket "${bucket.bucket}"${prefix === "" ? "" : `, prefix "${prefix}",`} at ${where}`;
}

/**
 * Finds out how to use the bucket and what it can do, and says so in the log. For Storj the credentials are
 * registered, or those that `keeper` has kept are used.
 */
export async function reachBucket(
  config: BucketConfig,
  keeper: CredentialKeeper,
  log: Logger,
): Promise<BucketAccess> {
  let options = await optionsOf(config, keeper, log);
  let capabilities: S3Capabilities;
  try {
    capabilities = await probeS3(options);
  } catch (error) {
    const rejected = options.credentials?.accessKeyId;
    const isUnknown = error instanceof S3Failure && error.code === "InvalidAccessKeyId";
    if (config.kind !== "storj" || !isUnknown || rejected === undefined) throw error;
    options = await optionsOf(config, keeper, log, rejected);
    capabilities = await probeS3(options);
  }
  log.info("the bucket is there", { bucket: bucketName(config), ...capabilities });
  if (capabilities.ifNoneMatch !== "honoured") {
    log.warn(
      "the bucket's store does not honour If-None-Match: two databases that start on the empty bucket at the same moment may both take it",
    );
  }
  return { options, capabilities, holdsDistribution: await hasDistributionLayout(options) };
}

export function openObjects({ options, capabilities }: BucketAccess): ObjectStore {
  return openS3Objects({ ...options, ifNoneMatch: capabilities.ifNoneMatch === "honoured" });
}

/** Both are closed with `held`. From then on the other processes know this one to live, and may wait for its uploads. */
export async function openBlobs(
  held: AsyncDisposableStack,
  { options, capabilities }: BucketAccess,
  process: { readonly meta: MetaStore; readonly run: string },
): Promise<{ readonly blobs: BlobStore; readonly presence: Presence }> {
  const presence = held.use(await Presence.begin(process));
  const notes = openMetaNotes({ ...process, isAlive: (other) => presence.isAlive(other) });
  const { listsMultiparts } = capabilities;
  const blobs = held.adopt(await openS3Store({ ...options, notes, listsMultiparts }), (open) =>
    open.close(),
  );
  return { blobs, presence };
}

/** `rejected`: the id of a kept key pair that the gateway does not know. */
async function optionsOf(
  config: BucketConfig,
  keeper: CredentialKeeper,
  log: Logger,
  rejected?: string,
): Promise<BucketAccess["options"]> {
  const common = {
    bucket: config.bucket,
    prefix: config.prefix,
  };
  if (config.kind === "storj") {
    const { accessGrant, authService, endpoint, bucket, prefix } = config;
    const { settings, registered, satellite, expires } = await storjCredentials(
      {
        accessGrant: accessGrant.text,
        authService,
        endpoint,
        bucket,
        prefix,
        ...(rejected === undefined ? {} : { rejected }),
      },
      keeper,
    );
    log.info(registered ? "registered with Storj" : "registered with Storj before", {
      satellite,
      authService,
    });
    if (expires !== undefined && expires - Date.now() < EXPIRY_WARNING_MS) {
      log.warn("the Storj access grant expires soon: set a new one in storage.storj.accessGrant", {
        expires: new Date(expires).toISOString(),
      });
    }
    const { accessKeyId, secretAccessKey, ...rest } = settings;
    return {
      ...common,
      ...rest,
      fields: STORJ_FIELDS,
      credentials: { accessKeyId, secretAccessKey },
    };
  }
  const { endpoint, region, pathStyle, credentials, ca } = config;
  return {
    ...common,
    region,
    pathStyle,
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(credentials === undefined ? {} : { credentials: keysOf(credentials) }),
    ...(ca === undefined ? {} : { ca: ca.text }),
  };
}

function keysOf({ accessKeyId, secretAccessKey, sessionToken }: S3Credentials) {
  return {
    accessKeyId: accessKeyId.text,
    secretAccessKey: secretAccessKey.text,
    ...(sessionToken === undefined ? {} : { sessionToken: sessionToken.text }),
  };
}
