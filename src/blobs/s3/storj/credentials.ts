/**
 * The S3 settings for Storj out of an access grant. The key pair is registered once for the whole installation and
 * kept, since every registration makes another one.
 */
import { AUTH_SERVICE, registerGrant, type KeyPair, type RegisterOptions } from "./auth-service.ts";
import type { CredentialKeeper } from "./credential-keeper.ts";
import { StorjError } from "./error.ts";
import { checkGrant, parseGrant } from "./grant.ts";

export interface StorjOptions {
  /** A secret. */
  readonly accessGrant: string;
  readonly bucket: string;
  /** Where in the bucket the registry is; empty, or ending with `/`. */
  readonly prefix: string;
  /** Base URL; Storj's own where it is not given. */
  readonly authService?: string | undefined;
  /** Base URL of the S3 gateway; the one that the auth service names where it is not given. */
  readonly endpoint?: string | undefined;
  readonly region?: string | undefined;
  /** Access key id of a kept pair that the gateway does not know: it is replaced. */
  readonly rejected?: string;
  /** How to call the auth service. */
  readonly calls?: Pick<RegisterOptions, "timeout" | "attempts" | "pause">;
  /** Milliseconds since the epoch. */
  readonly now?: number;
}

/** What the S3 engine is to be opened with, beside bucket and prefix. */
export interface StorjS3Settings {
  readonly endpoint: string;
  readonly region: string;
  readonly pathStyle: true;
  readonly accessKeyId: string;
  /** A secret. */
  readonly secretAccessKey: string;
}

export interface StorjCredentials {
  readonly settings: StorjS3Settings;
  /** Whether the pair is one that this call has registered, for the log. */
  readonly registered: boolean;
  /** The satellite's host and port, for the log. */
  readonly satellite: string;
  /** When the grant ends, in milliseconds since the epoch. */
  readonly expires: number | undefined;
}

const REGION = "us1";

/**
 * Checks the grant, then reads the installation's pair or registers and keeps one: nodes that start at once end with
 * the same. Throws `StorjError`, and what the keeper throws.
 */
export async function storjCredentials(
  options: StorjOptions,
  keeper: CredentialKeeper,
): Promise<StorjCredentials> {
  const { bucket, prefix, now = Date.now() } = options;
  const grant = parseGrant(options.accessGrant);
  checkGrant(grant, { bucket, prefix, now });
  const authService = options.authService ?? AUTH_SERVICE;
  const name = fingerprint(grant.text, authService);

  const usable = (text: string | undefined): KeyPair | undefined => {
    const pair = text === undefined ? undefined : decode(text);
    return pair?.accessKeyId === options.rejected ? undefined : pair;
  };
  let registered = false;
  const register = async (): Promise<KeyPair> => {
    const kept = await keeper.read(name);
    const known = usable(kept);
    if (known !== undefined) return known;
    const call = { ...options.calls, accessGrant: grant.text, authService };
    const own = JSON.stringify(await registerGrant(call));
    const winner = await keeper.keep(name, own, kept);
    registered = winner === own;
    const pair = decode(winner);
    if (pair !== undefined) return pair;
    throw new StorjError(
      "the Storj credentials that another node keeps cannot be read: start the same version of Holdfast everywhere",
    );
  };
  const pair =
    usable(await keeper.read(name)) ??
    (await (keeper.inTurn === undefined ? register() : keeper.inTurn(name, register)));
  return {
    settings: {
      endpoint: options.endpoint ?? pair.endpoint,
      region: options.region ?? REGION,
      pathStyle: true,
      accessKeyId: pair.accessKeyId,
      secretAccessKey: pair.secretAccessKey,
    },
    registered,
    satellite: grant.satellite.slice(grant.satellite.lastIndexOf("@") + 1),
    expires: grant.expires,
  };
}

/** Another grant or another auth service needs another pair. Tells nothing about the grant. */
function fingerprint(accessGrant: string, authService: string): string {
  const hash = new Bun.CryptoHasher("sha256");
  return hash
    .update(`${authService.replace(/\/+$/, "")}\n${accessGrant}`)
    .digest("hex")
    .slice(0, 32);
}

/** `undefined` where a kept text is not what this program keeps, which is then replaced. */
function decode(text: string): KeyPair | undefined {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value !== "object" || value === null) return undefined;
    const { accessKeyId, secretAccessKey, endpoint } = value as Record<keyof KeyPair, unknown>;
    return typeof accessKeyId === "string" &&
      typeof secretAccessKey === "string" &&
      typeof endpoint === "string"
      ? { accessKeyId, secretAccessKey, endpoint }
      : undefined;
  } catch {
    return undefined;
  }
}
