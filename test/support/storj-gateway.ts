/** Storj as a registry meets it: the auth service, and a gateway made of a real S3 server behind Storj's rules. */
import { storjCredentials, type CredentialKeeper } from "../../src/blobs/s3/storj/index.ts";
import type { S3Options } from "../../src/blobs/s3/index.ts";
import { S3Quirks, STORJ_RULES } from "./s3-quirks.ts";
import { StorjAuth } from "./storj-auth.ts";
import { makeGrant } from "./storj-grant.ts";
import { startVersitygw } from "./versitygw.ts";

export interface StorjGateway extends AsyncDisposable {
  readonly gateway: S3Quirks;
  readonly auth: StorjAuth;
  /** Restricted to `bucket`. */
  readonly accessGrant: string;
  readonly bucket: string;
  /** What the engine is opened with: credentials registered for the grant. */
  options(prefix: string, patience?: S3Options["patience"]): Promise<S3Options>;
}

export async function startStorjGateway(): Promise<StorjGateway> {
  const bucket = "images";
  const server = await startVersitygw();
  await server.createBucket(bucket);
  const gateway = await S3Quirks.start({ target: server, rules: STORJ_RULES });
  const auth = new StorjAuth({ endpoint: gateway.endpoint, pair: server });
  const paths = [{ bucket, prefix: new Uint8Array() }];
  const accessGrant = makeGrant({ caveats: [{ paths }] });
  const kept = new Map<string, string>();
  const keeper: CredentialKeeper = {
    read: async (name) => kept.get(name),
    keep: async (name, text) => {
      kept.set(name, text);
      return text;
    },
  };
  return {
    gateway,
    auth,
    accessGrant,
    bucket,
    async options(prefix, patience) {
      const storj = { accessGrant, bucket, prefix, authService: auth.url };
      const { settings } = await storjCredentials(
        // The real server wants its own region in signatures; Storj's takes any.
        { ...storj, region: "us-east-1" },
        keeper,
      );
      const { accessKeyId, secretAccessKey, ...rest } = settings;
      const credentials = { accessKeyId, secretAccessKey };
      return {
        bucket,
        prefix,
        ...rest,
        credentials,
        ...(patience === undefined ? {} : { patience }),
      };
    },
    async [Symbol.asyncDispose]() {
      await gateway[Symbol.asyncDispose]();
      await auth[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}
