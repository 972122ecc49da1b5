/**
 * Storj's auth service (storj/edge `pkg/auth/httpauth`), which turns an access grant into a key pair for the S3
 * gateway. Every call makes a new pair, none of which ends before the grant does.
 */
import { GRANT_FIELD, StorjError } from "./error.ts";

export const AUTH_SERVICE = "https://auth.storjshare.io";
const SERVICE_FIELD = "storage.storj.authService";

export interface KeyPair {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** Base URL of the S3 gateway. */
  readonly endpoint: string;
}

export interface RegisterOptions {
  readonly accessGrant: string;
  /** Base URL. */
  readonly authService: string;
  /** Milliseconds for one attempt, all of its answer included. */
  readonly timeout?: number;
  readonly attempts?: number;
  /** Milliseconds to wait at most before the second attempt; twice as long before each further one. */
  readonly pause?: number;
}

const TIMEOUT_MS = 10_000;
const ATTEMPTS = 5;
const PAUSE_MS = 500;
/** Longest pause, also where the service asks for a longer one. */
const PAUSE_MAX_MS = 10_000;
const ANSWER_BYTES_MAX = 65_536;

/** What one attempt gave: a pair, or why another one may help. */
type Attempt = { readonly pair: KeyPair } | { readonly why: string; readonly wait: number };

/**
 * Registers the grant and resolves with the new pair. Repeats what may pass (no connection, no answer in time, 429,
 * 5xx); throws `StorjError` for all else, and when the attempts are used up. Neither the grant nor the secret ever
 * shows in a message.
 */
export async function registerGrant(options: RegisterOptions): Promise<KeyPair> {
  const attempts = options.attempts ?? ATTEMPTS;
  let pause = options.pause ?? PAUSE_MS;
  for (let attempt = 1; ; attempt++) {
    const result = await attemptOnce(options);
    if ("pair" in result) return result.pair;
    if (attempt >= attempts) {
      throw new StorjError(
        `Storj's auth service at ${origin(options.authService)} cannot be used now (${result.why}): try again later, or check the network and ${SERVICE_FIELD}`,
      );
    }
    await Bun.sleep(
      Math.min(PAUSE_MAX_MS, Math.max(result.wait, pause * (0.5 + Math.random() / 2))),
    );
    pause *= 2;
  }
}

async function attemptOnce(options: RegisterOptions): Promise<Attempt> {
  const { accessGrant, authService, timeout = TIMEOUT_MS } = options;
  const url = `${authService.replace(/\/+$/, "")}/v1/access`;
  let response: Response;
  let text: string;
  try {
    response = await fetch(url, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ access_grant: accessGrant, public: false }),
      // A redirect would hand the grant to whoever it names.
      redirect: "manual",
      signal: AbortSignal.timeout(timeout),
    });
    text = await bounded(response);
  } catch (error) {
    const late = error instanceof Error && error.name === "TimeoutError";
    const why = late ? `no answer within ${timeout} ms` : reason(error);
    return { why, wait: 0 };
  }
  const { status } = response;
  if (status === 200) return { pair: parsePair(text, authService) };
  if (status === 429 || status >= 500) {
    const seconds = Number(response.headers.get("retry-after") ?? 0);
    return { why: `status ${status}`, wait: seconds > 0 ? seconds * 1000 : 0 };
  }
  throw refused(status, said(text, accessGrant), authService);
}

/** Every final status of the service, as a sentence. */
function refused(status: number, words: string, authService: string): StorjError {
  const at = origin(authService);
  switch (status) {
    case 400:
      return new StorjError(
        `Storj's auth service at ${at} refused ${GRANT_FIELD}${words}: create a new grant on a satellite that this service serves, or set ${SERVICE_FIELD} to the one that belongs to the satellite`,
      );
    case 413:
      return new StorjError(
        `Storj's auth service at ${at} finds ${GRANT_FIELD} too long${words}: create a grant with fewer prefixes`,
      );
    default:
      return new StorjError(
        `${at} does not answer like Storj's auth service (status ${status}${words}): check ${SERVICE_FIELD}`,
      );
  }
}

function parsePair(text: string, authService: string): KeyPair {
  const problem = (what: string): StorjError =>
    new StorjError(
      `${origin(authService)} does not answer like Storj's auth service (${what}): check ${SERVICE_FIELD}`,
    );
  let answer: unknown;
  try {
    answer = JSON.parse(text);
  } catch {
    throw problem("its answer is not JSON");
  }
  const field = (name: string): string => {
    const value: unknown =
      typeof answer === "object" && answer !== null ? Reflect.get(answer, name) : undefined;
    // Both end up in header values.
    if (typeof value !== "string" || !/^[\x21-\x7e]+$/.test(value))
      throw problem(`its answer has no ${name}`);
    return value;
  };
  const pair = {
    accessKeyId: field("access_key_id"),
    secretAccessKey: field("secret_key"),
    endpoint: field("endpoint"),
  };
  if (!["http:", "https:"].includes(URL.parse(pair.endpoint)?.protocol ?? ""))
    throw problem("the endpoint in its answer is no URL");
  return pair;
}

async function bounded(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    chunks.push(chunk);
    bytes += chunk.byteLength;
    if (bytes > ANSWER_BYTES_MAX) break;
  }
  return Buffer.concat(chunks).toString("utf8");
}

/** The first line of what the service says of its refusal, without the grant if it repeats it. */
function said(text: string, accessGrant: string): string {
  const [line = ""] = text.replaceAll(accessGrant, "…").trim().split("\n");
  const clean = line.replace(/[^\x20-\x7e…]/g, "").slice(0, 200);
  return clean === "" ? "" : ` ("${clean}")`;
}

function reason(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return "code" in error && typeof error.code === "string" ? error.code : error.message;
}

/** The address without any name and password in it. */
function origin(authService: string): string {
  return URL.parse(authService)?.origin ?? authService;
}
