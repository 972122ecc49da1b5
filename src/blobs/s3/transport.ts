/** One signed request and its repetitions: deadlines, retries with full jitter, refusals as the port's errors. */
import { credentialSource, type CredentialOptions, type CredentialSource } from "./credentials.ts";
import {
  networkFailure,
  refusal,
  S3_FIELDS,
  S3Failure,
  timeoutFailure,
  type Fields,
  type Where,
} from "./errors.ts";
import { encodePath, queryText, Signer, type Signable } from "./signature.ts";

export interface S3Options {
  readonly bucket: string;
  /** Folder of everything; a `/` at its end may be left out. */
  readonly prefix?: string | undefined;
  /** Base URL; without, Amazon's of the region. */
  readonly endpoint?: string | undefined;
  /** Default `us-east-1`. */
  readonly region?: string | undefined;
  /** The bucket in the path instead of the host name; default: only with an `endpoint`. */
  readonly pathStyle?: boolean | undefined;
  /** Without, the standard AWS chain. */
  readonly credentials?: CredentialOptions;
  /** Certificate authorities to trust instead of the system's, PEM. */
  readonly ca?: string | undefined;
  /** How messages call the settings; default those of `storage.s3`. */
  readonly fields?: Fields | undefined;
  readonly patience?: Partial<Patience> | undefined;
}

/** In milliseconds. What moves is never cut: each of the first two begins anew whenever bytes have moved. */
export interface Patience {
  /** For a store that has been sent everything, or has begun to answer, and says nothing. */
  readonly answer: number;
  /** For the next byte of a body that is passed on. */
  readonly idle: number;
  /** For an operation with all its repetitions, unless bytes are moving. */
  readonly operation: number;
}

export interface Call {
  readonly method: "GET" | "HEAD" | "PUT" | "POST" | "DELETE";
  /** Below the prefix; without, the bucket itself. */
  readonly key?: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array<ArrayBuffer>;
  /** SHA-256 of the body in hexadecimal, where it is known. */
  readonly sha256?: string;
  /** Statuses that are answers; all others are failures. */
  readonly expected: readonly number[];
  /** Milliseconds for the answer, where it is slower than others. */
  readonly answer?: number;
  /** Milliseconds for all repetitions, where they are to end sooner than others. */
  readonly operation?: number;
}

/**
 * What an attempt makes of its response; whoever keeps the body reading ends it by `abort`, and whoever reads a long
 * one here calls `moved` for each piece.
 */
export type Take<T> = (response: Response, abort: () => void, moved: () => void) => Promise<T> | T;

/** A client of ours waits for an operation: it is told to come back before it gives up by itself. */
const PATIENCE: Patience = { answer: 7000, idle: 30_000, operation: 14_000 };
const ATTEMPTS_MAX = 6;
const BACKOFF_MS = 100;
const BACKOFF_MAX_MS = 5000;
/** Another attempt is worth while with this part of an answer's time left. */
const WORTH = 0.1;
/** The slowest link that a body may go out on, in bytes a millisecond. */
const SLOWEST = 200;
/** Bytes hashed or sent before other requests get their turn. (`crypto.subtle` hashes on this thread, in one go.) */
const STEP = 256 << 10;
const EMPTY_SHA256 = new Bun.CryptoHasher("sha256").digest("hex");

export class Transport {
  readonly bucket: string;
  readonly prefix: string;
  readonly patience: Patience;
  readonly #endpoint: string;
  readonly #region: string;
  /** Scheme, host and path of the bucket, the path without a slash at its end. */
  readonly #scheme: string;
  readonly #host: string;
  readonly #path: string;
  readonly #credentials: CredentialSource;
  readonly #signer: Signer;
  readonly #ca: string | undefined;
  readonly #fields: Fields;

  constructor(options: S3Options) {
    this.bucket = options.bucket;
    this.prefix = folderOf(options.prefix ?? "");
    this.patience = { ...PATIENCE, ...options.patience };
    this.#region = options.region ?? "us-east-1";
    const url = new URL(options.endpoint ?? `https://s3.${this.#region}.amazonaws.com`);
    this.#endpoint = url.origin;
    const path = url.pathname.replace(/\/+$/, "");
    const isInPath = options.pathStyle ?? options.endpoint !== undefined;
    this.#scheme = url.protocol;
    this.#host = isInPath ? url.host : `${options.bucket}.${url.host}`;
    this.#path = isInPath ? `${path}/${options.bucket}` : path;
    this.#credentials = credentialSource(options.credentials);
    this.#signer = new Signer(this.#region);
    this.#ca = options.ca;
    this.#fields = options.fields ?? S3_FIELDS;
  }

  /**
   * The first answer that is an expected one; what may pass is tried again. So a call must bear being made twice:
   * `fetch` too repeats it where a kept connection turns out to be closed.
   */
  async send<T>(call: Call, take: Take<T>): Promise<T> {
    const budget = Math.max(call.operation ?? this.patience.operation, call.answer ?? 0);
    const deadline = performance.now() + budget;
    for (let attempt = 0; ; attempt++) {
      try {
        return await this.#attempt(call, take, deadline);
      } catch (error) {
        if (!(error instanceof S3Failure) || !error.isPassing) throw error;
        const most = Math.min(BACKOFF_MAX_MS, BACKOFF_MS * 2 ** attempt);
        // Half of it for sure: six quick refusals are not to be over before a store has restarted.
        const pause = most * (0.5 + Math.random() / 2);
        const wait = Math.max(pause, error.retryAfter ?? 0);
        const left = deadline - performance.now() - wait;
        if (attempt + 1 >= ATTEMPTS_MAX || left < WORTH * this.patience.answer) throw error;
        await Bun.sleep(wait);
      }
    }
  }

  /** A URL that gets the object for `seconds` without further rights. */
  async presign(key: string, seconds: number): Promise<string> {
    const target = this.#target("GET", key);
    return this.#url(target, this.#signer.query(target, seconds, await this.#credentials()));
  }

  where(action: string): Where {
    const [endpoint, region, fields] = [this.#endpoint, this.#region, this.#fields];
    return { bucket: this.bucket, endpoint, region, fields, action };
  }

  async #attempt<T>(call: Call, take: Take<T>, deadline: number): Promise<T> {
    const where = this.where(`${call.method} ${call.key ?? ""}`.trimEnd());
    const request = await this.#sign(call);
    const control = new AbortController();
    const answer = call.answer ?? this.patience.answer;
    let limit = 0;
    let timer: ReturnType<typeof setTimeout> | undefined;
    let hasEnded = false;
    const allow = (ms: number): void => {
      if (hasEnded) return;
      clearTimeout(timer);
      limit = ms;
      timer = setTimeout(() => control.abort(), ms);
    };
    // What was handed over may still be on its way, in the kernel (which takes some 4 MiB ahead) or a proxy.
    const sending = (handed: number): number => answer + handed / SLOWEST;
    allow(Math.min(sending(inOne(call.body)), deadline - performance.now()));
    try {
      const response = await fetch(request.url, {
        method: call.method,
        headers: request.headers,
        body: sendable(call.body, request.headers, (handed) => allow(sending(handed))),
        signal: control.signal,
        redirect: "manual",
        decompress: false,
        ...(this.#ca === undefined ? {} : { tls: { ca: this.#ca } }),
      });
      allow(answer);
      if (!call.expected.includes(response.status)) throw await refusal(where, response);
      return await take(
        response,
        () => control.abort(),
        () => allow(answer),
      );
    } catch (error) {
      if (control.signal.aborted) throw timeoutFailure(where, limit);
      throw error instanceof Error && !isNetwork(error) ? error : networkFailure(where, error);
    } finally {
      hasEnded = true;
      clearTimeout(timer);
    }
  }

  async #sign(call: Call): Promise<{ readonly url: string; readonly headers: Headers }> {
    const target = this.#target(call.method, call.key, call.query);
    const amz: Record<string, string> = {
      "x-amz-content-sha256": call.sha256 ?? (await sha256Of(call.body)),
    };
    const headers = new Headers({ "accept-encoding": "identity" });
    for (const [name, value] of Object.entries(call.headers ?? {})) {
      if (name.startsWith("x-amz-")) amz[name] = value;
      else headers.set(name, value);
    }
    const signed = this.#signer.headers(target, amz, await this.#credentials());
    for (const [name, value] of Object.entries(signed)) headers.set(name, value);
    return { url: this.#url(target, queryText(target.query)), headers };
  }

  #target(method: string, key: string | undefined, query: Signable["query"] = {}): Signable {
    const path = key === undefined ? this.#path : `${this.#path}/${encodePath(this.prefix + key)}`;
    return { method, host: this.#host, path: path === "" ? "/" : path, query };
  }

  #url({ host, path }: Signable, query: string): string {
    return `${this.#scheme}//${host}${path}${query === "" ? "" : `?${query}`}`;
  }
}

function folderOf(prefix: string): string {
  const path = prefix.replaceAll(/^\/+|\/+$/g, "");
  return path === "" ? "" : `${path}/`;
}

/** Bytes that `fetch` is given at once. */
function inOne(bytes: Uint8Array | undefined): number {
  return bytes === undefined || bytes.byteLength > STEP ? 0 : bytes.byteLength;
}

/**
 * A body as `fetch` takes it without a copy in one go, which would stop this thread and double the memory. Bun
 * keeps the length that is given with a stream, and asks for more when the kernel has room. `moved` is told how many
 * bytes it has been given by then.
 */
function sendable(
  bytes: Uint8Array<ArrayBuffer> | undefined,
  headers: Headers,
  moved: (handed: number) => void,
): Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array<ArrayBuffer>> | null {
  if (bytes === undefined || bytes.byteLength <= STEP) return bytes ?? null;
  headers.set("content-length", `${bytes.byteLength}`);
  let at = 0;
  return new ReadableStream<Uint8Array<ArrayBuffer>>(
    {
      pull(controller) {
        controller.enqueue(bytes.subarray(at, at + STEP));
        at += STEP;
        moved(Math.min(at, bytes.byteLength));
        if (at >= bytes.byteLength) controller.close();
      },
    },
    { highWaterMark: 0 },
  );
}

export async function sha256Of(bytes: Uint8Array<ArrayBuffer> | undefined): Promise<string> {
  if (bytes === undefined || bytes.byteLength === 0) return EMPTY_SHA256;
  const hasher = new Bun.CryptoHasher("sha256");
  for (let at = 0; at < bytes.byteLength; at += STEP) {
    if (at > 0) await new Promise(setImmediate);
    hasher.update(bytes.subarray(at, at + STEP));
  }
  return hasher.digest("hex");
}

/** Errors of `fetch` and of body streams have a system's or Bun's code, ours have none of these names. */
function isNetwork(error: Error): boolean {
  return !(error instanceof S3Failure) && error.name !== "BlobStoreFull" && "code" in error;
}
