/** What a store's refusals mean, as the port's errors: cause, field and remedy in one sentence. */
import { BlobStoreFull, BlobStoreUnavailable } from "../port.ts";
import { parseXml, textOf } from "./xml.ts";

/** A call that came to nothing. `code` is S3's, or one of `Timeout`, `Network`. */
export class S3Failure extends BlobStoreUnavailable {
  readonly code: string;
  /** HTTP status; 0 without an answer. */
  readonly status: number;
  /** Milliseconds that the store asks to wait. */
  readonly retryAfter: number | undefined;
  constructor(
    message: string,
    code: string,
    options: { status?: number; retryAfter?: number | undefined; cause?: unknown } = {},
  ) {
    super(message, { cause: options.cause });
    this.code = code;
    this.status = options.status ?? 0;
    this.retryAfter = options.retryAfter;
  }

  /** Whether parts or rests of an upload are gone, so that it cannot go on. */
  get isLoss(): boolean {
    return LOST.has(this.code);
  }

  /** Whether the same call may succeed a moment later. */
  get isPassing(): boolean {
    return (
      this.status === 0 ||
      (this.status >= 500 && this.status !== 501) ||
      this.status === 429 ||
      PASSING.has(this.code)
    );
  }
}

/** What the configuration calls that which may be wrong. */
export interface Fields {
  readonly bucket: string;
  readonly endpoint: string;
  readonly region: string;
  readonly key: string;
  readonly secret: string;
}

export const S3_FIELDS: Fields = {
  bucket: "storage.s3.bucket",
  endpoint: "storage.s3.endpoint",
  region: "storage.s3.region",
  key: "storage.s3.accessKeyId",
  secret: "storage.s3.secretAccessKey",
};

/** Of a grant that was turned into keys. */
export const STORJ_FIELDS: Fields = {
  bucket: "storage.storj.bucket",
  endpoint: "storage.storj.endpoint",
  region: "storage.storj.endpoint",
  key: "storage.storj.accessGrant",
  secret: "storage.storj.accessGrant",
};

/** What the sentences name. */
export interface Where {
  readonly bucket: string;
  readonly endpoint: string;
  readonly region: string;
  readonly fields: Fields;
  /** What was asked, such as `PUT data/…`. */
  readonly action: string;
}

const PASSING: ReadonlySet<string> = new Set([
  "SlowDown",
  "RequestTimeout",
  "OperationAborted",
  "ConditionalRequestConflict",
  // The bytes changed on their way.
  "XAmzContentSHA256Mismatch",
  "BadDigest",
  "TooManyRequests",
  // versitygw, when it tidies away a folder that a new object is just about to come into.
  "ExistingObjectIsDirectory",
]);
/** What an unfinished upload was made of is not there any more. */
const LOST: ReadonlySet<string> = new Set(["NoSuchUpload", "Gone"]);
const FULL: ReadonlySet<string> = new Set([
  "StorageLimitExceeded",
  "SegmentsLimitExceeded",
  "QuotaExceeded",
  "XMinioStorageFull",
  "XMinioAdminBucketQuotaExceeded",
  "InsufficientStorage",
]);
/** A difference of clocks that stores begin to refuse at 15 minutes. */
const SKEW_MAX_MS = 10 * 60_000;

/** Whether a 404 is about the object, and not about its bucket or the way there. */
export function isAbsence(text: string): boolean {
  const code = textOf(parseXml(text), "Code");
  return code === undefined || code === "NoSuchKey";
}

/** The error for an answer nobody expected, whose body is read here. */
export async function refusal(where: Where, response: Response): Promise<Error> {
  let text = "";
  try {
    text = await response.text();
  } catch {
    // The status says enough.
  }
  return refusalOf(where, response.status, response.headers, text);
}

export function refusalOf(where: Where, status: number, headers: Headers, text: string): Error {
  const xml = parseXml(text);
  const code = textOf(xml, "Code") ?? headers.get("x-minio-error-code") ?? `HTTP ${status}`;
  const said = textOf(xml, "Message");
  if (FULL.has(code) || status === 507) {
    return new BlobStoreFull(
      `no room in bucket "${where.bucket}": the store said ${code}; raise its quota or free space`,
    );
  }
  const region = headers.get("x-amz-bucket-region") ?? textOf(xml, "Region") ?? expected(said);
  const message =
    skewed(code, status, headers.get("date")) ??
    explained(where, code, status, region) ??
    `the store answered ${where.action} with ${status} ${code}${said === undefined ? "" : `: ${said}`}`;
  return new S3Failure(message, code, {
    status,
    retryAfter: secondsOf(headers.get("retry-after")),
  });
}

export function networkFailure(where: Where, error: unknown): S3Failure {
  const reason = error instanceof Error ? error.message : String(error);
  return new S3Failure(
    `the store at ${where.endpoint} cannot be reached (${where.fields.endpoint}): ${reason}`,
    "Network",
    { cause: error },
  );
}

export function timeoutFailure(where: Where, ms: number): S3Failure {
  return new S3Failure(
    `the store at ${where.endpoint} did not answer ${where.action} within ${Math.ceil(ms / 1000)} s`,
    "Timeout",
  );
}

function explained(
  { bucket, endpoint, region, action, fields }: Where,
  code: string,
  status: number,
  right: string | undefined,
): string | undefined {
  switch (code) {
    case "InvalidAccessKeyId":
    case "XAdminUserNotFound":
      return `the store at ${endpoint} does not know the access key: correct ${fields.key}`;
    case "SignatureDoesNotMatch":
      return `the store at ${endpoint} refuses the signature: ${fields.secret} does not belong to ${fields.key}`;
    case "ExpiredToken":
    case "InvalidToken":
      return `the store at ${endpoint} takes the session token for expired or wrong: renew the credentials`;
    case "AccessDenied":
      return `the access key may not ${action} in bucket "${bucket}": allow ${fields.key} to read, write, list and delete there`;
    case "NoSuchBucket":
      return `there is no bucket "${bucket}" at ${endpoint}: create it, or correct ${fields.bucket}`;
    case "AuthorizationHeaderMalformed":
    case "PermanentRedirect":
    case "AuthorizationQueryParametersError":
      return wrongRegion({ bucket, region, fields }, right);
    default:
      if (status === 301) return wrongRegion({ bucket, region, fields }, right);
      return undefined;
  }
}

function wrongRegion(
  { bucket, region, fields }: Pick<Where, "bucket" | "region" | "fields">,
  right: string | undefined,
): string {
  const remedy =
    right === undefined
      ? `correct ${fields.region} or ${fields.endpoint}`
      : `set ${fields.region} to ${right}`;
  return `bucket "${bucket}" is not in region ${region}: ${remedy}`;
}

/** The region that a message like `… expecting 'eu-west-1'` names. */
function expected(message: string | undefined): string | undefined {
  return /expecting '?([a-z0-9-]+)'?/.exec(message ?? "")?.[1];
}

function skewed(code: string, status: number, date: string | null): string | undefined {
  const apart = date === null ? Number.NaN : Date.now() - Date.parse(date);
  const isOff = Math.abs(apart) > SKEW_MAX_MS;
  if (code !== "RequestTimeTooSkewed" && !(status === 403 && isOff)) return undefined;
  const by = isOff
    ? `${Math.round(Math.abs(apart) / 1000)} s ${apart > 0 ? "ahead of" : "behind"}`
    : "apart from";
  return `this machine's clock is ${by} the store's, which refuses requests for it: set the clock (NTP)`;
}

function secondsOf(header: string | null): number | undefined {
  if (header === null) return undefined;
  const ms = /^\d+$/.test(header) ? Number(header) * 1000 : Date.parse(header) - Date.now();
  return Number.isFinite(ms) && ms >= 0 ? ms : undefined;
}
