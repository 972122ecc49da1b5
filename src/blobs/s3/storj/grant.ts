/**
 * Storj access grants, read without asking anybody (storj/common `grant/access.go`): base58check of the message
 * `{1 satellite, 2 macaroon, 3 encryption access}`. What they refuse is refused before anything is sent.
 */
import { decodeBase58Check } from "./base58.ts";
import { encryptionKeys, type EncryptionKeys } from "./encryption-access.ts";
import { GRANT_FIELD, StorjError } from "./error.ts";
import { parseMacaroon, type Caveat } from "./macaroon.ts";
import { bytesOf, fields, Malformed, textOf } from "./wire.ts";

export interface Grant {
  /** The grant as written, a secret. */
  readonly text: string;
  /** `<node id>@<host>:<port>`. */
  readonly satellite: string;
  /** It holds a key to encrypt objects with. */
  readonly encrypts: boolean;
  readonly permissions: Permissions;
  /** Milliseconds since the epoch; `undefined` for ever. */
  readonly expires: number | undefined;
  readonly startsAt: number | undefined;
  /** The store deletes what is written with this grant after a while. */
  readonly objectsExpire: boolean;
  /** Each entry restricts to its places, all entries together; empty for every bucket of the project. */
  readonly allowed: readonly (readonly Place[])[];
}

export interface Permissions {
  readonly read: boolean;
  readonly write: boolean;
  readonly list: boolean;
  readonly delete: boolean;
}

export interface Place {
  readonly bucket: string;
  /** Without a slash at the end; empty for the whole bucket, `undefined` where it can only be told with the satellite's help. */
  readonly prefix: string | undefined;
}

/** The longest grant that the auth service takes, in characters. */
const TEXT_MAX = 4000;
/** The auth service refuses grants that end sooner. */
const LEAST_LIFE_MS = 60_000;

/** Reads a grant as written in the configuration. Throws `StorjError`. */
export function parseGrant(written: string): Grant {
  const text = written.trim();
  if (text === "") throw new StorjError(`${GRANT_FIELD} is empty: write the access grant there`);
  if (text.length > TEXT_MAX)
    throw notAGrant(`it has ${text.length} characters, a grant has at most ${TEXT_MAX}`);
  const decoded = decodeBase58Check(text);
  if ("bad" in decoded) {
    throw decoded.bad === "character"
      ? notAGrant(`character ${decoded.at + 1} is none that a grant has (letters and digits only)`)
      : new StorjError(
          `${GRANT_FIELD} has a wrong checksum: it was changed or cut when it was copied; copy the whole grant again`,
        );
  }
  if (decoded.version !== 0) throw notAGrant(`it has version ${decoded.version} instead of 0`);
  try {
    return { text, ...parseScope(decoded.bytes) };
  } catch (error) {
    if (error instanceof Malformed) throw notAGrant(error.message);
    throw error;
  }
}

/** What stands against a registry in this bucket, below this prefix, at this time; throws `StorjError` for it. */
export function checkGrant(
  grant: Grant,
  use: { readonly bucket: string; readonly prefix: string; readonly now: number },
): void {
  const missing = Object.entries(grant.permissions).flatMap(([name, given]) => (given ? [] : name));
  if (missing.length > 0) {
    throw new StorjError(
      `${GRANT_FIELD} does not allow to ${missing.join(" and to ")}: create one that may read, write, list and delete`,
    );
  }
  if (grant.expires !== undefined && grant.expires - LEAST_LIFE_MS <= use.now) {
    const verb = grant.expires <= use.now ? "expired" : "expires";
    throw new StorjError(
      `${GRANT_FIELD} ${verb} at ${date(grant.expires)} and it is ${date(use.now)}: create a new one, or set the clock right`,
    );
  }
  if (grant.startsAt !== undefined && grant.startsAt > use.now) {
    throw new StorjError(
      `${GRANT_FIELD} is valid from ${date(grant.startsAt)} on and it is ${date(use.now)}: wait, or set the clock right`,
    );
  }
  if (!grant.encrypts) {
    throw new StorjError(
      `${GRANT_FIELD} holds no encryption key: create one with a passphrase, or with encryption managed by Storj`,
    );
  }
  if (grant.objectsExpire) {
    throw new StorjError(
      `${GRANT_FIELD} limits the life of what is stored with it, so images would vanish: create one without a limit for objects`,
    );
  }
  for (const places of grant.allowed) checkPlaces(places, use.bucket, use.prefix);
}

function checkPlaces(places: readonly Place[], bucket: string, prefix: string): void {
  const here = places.filter((place) => place.bucket === bucket);
  if (here.length === 0) {
    const buckets = [...new Set(places.map((place) => place.bucket))].map((name) => `"${name}"`);
    throw new StorjError(
      `${GRANT_FIELD} covers the bucket ${buckets.join(", ")} and not "${bucket}": set storage.storj.bucket to it, or create a grant for "${bucket}"`,
    );
  }
  const within = `${prefix.replace(/\/+$/, "")}/`;
  const covers = (place: Place): boolean =>
    place.prefix === undefined || place.prefix === "" || within.startsWith(`${place.prefix}/`);
  if (here.some(covers)) return;
  const prefixes = here.map((place) => `"${place.prefix}"`).join(", ");
  throw new StorjError(
    `${GRANT_FIELD} covers only what is below ${prefixes} in "${bucket}": set storage.storj.prefix to it, or create a grant for the whole bucket`,
  );
}

/** `Scope` of storj/common `grant/internal/pb`. */
function parseScope(message: Uint8Array): Omit<Grant, "text"> {
  let satellite = "";
  let apiKey: Uint8Array | undefined;
  let keys: EncryptionKeys | undefined;
  for (const field of fields(message)) {
    if (field.number === 1) satellite = textOf(field);
    else if (field.number === 2) apiKey = bytesOf(field);
    else if (field.number === 3) keys = encryptionKeys(bytesOf(field));
  }
  if (satellite === "") throw new Malformed("it names no satellite");
  if (apiKey === undefined) throw new Malformed("it holds no API key");
  if (keys === undefined) throw new Malformed("it holds no encryption access");
  const caveats = parseMacaroon(apiKey);
  return {
    satellite,
    encrypts: keys.any,
    permissions: {
      read: !caveats.some((caveat) => caveat.disallowReads),
      write: !caveats.some((caveat) => caveat.disallowWrites),
      list: !caveats.some((caveat) => caveat.disallowLists),
      delete: !caveats.some((caveat) => caveat.disallowDeletes),
    },
    expires: extreme(caveats, "notAfter", Math.min),
    startsAt: extreme(caveats, "notBefore", Math.max),
    objectsExpire: caveats.some((caveat) => caveat.objectsExpire),
    allowed: caveats.flatMap(({ allowedPaths }) =>
      allowedPaths.length === 0 ? [] : [places(allowedPaths, keys)],
    ),
  };
}

function places(paths: Caveat["allowedPaths"], keys: EncryptionKeys): Place[] {
  return paths.map(({ bucket, encryptedPrefix }) => ({
    bucket,
    prefix: keys.plainPrefix(bucket, encryptedPrefix),
  }));
}

function extreme(
  caveats: readonly Caveat[],
  which: "notAfter" | "notBefore",
  choose: (...times: number[]) => number,
): number | undefined {
  const times = caveats.flatMap((caveat) => caveat[which] ?? []);
  return times.length === 0 ? undefined : choose(...times);
}

function notAGrant(why: string): StorjError {
  return new StorjError(
    `${GRANT_FIELD} is not a Storj access grant: ${why}; write the whole grant as Storj shows it, not an API key, a passphrase or an S3 key`,
  );
}

function date(time: number): string {
  return new Date(time).toISOString();
}
