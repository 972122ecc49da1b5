/**
 * Signatures of requests: AWS Signature Version 4 for S3. Computed at once on this thread: through WebCrypto, as
 * libraries do it, four trips to another thread and back cost as much as all the rest of a small PUT.
 */
import type { Credentials } from "./credentials.ts";

/** What of a request is signed besides its headers. */
export interface Signable {
  readonly method: string;
  /** With the port, where it is not the scheme's own. */
  readonly host: string;
  /** Encoded by `encodePath`, beginning with `/`. */
  readonly path: string;
  readonly query: Readonly<Record<string, string>>;
}

type Fields = Readonly<Record<string, string>>;

export class Signer {
  readonly #region: string;
  /** Good for one day and one secret. */
  #key: { readonly for: string; readonly bytes: Buffer } | undefined;

  constructor(region: string) {
    this.#region = region;
  }

  /** The headers that make the request a signed one. `amz`: all of its headers that begin with `x-amz-`, in lower case. */
  headers(request: Signable, amz: Fields, keys: Credentials, at: Date = new Date()): Fields {
    const time = timeOf(at);
    const { sessionToken: token } = keys;
    const added: Record<string, string> = { "x-amz-date": time };
    if (token !== undefined) added["x-amz-security-token"] = token;
    const signed = { host: request.host, ...amz, ...added };
    const names = Object.keys(signed).toSorted().join(";");
    const payload = amz["x-amz-content-sha256"] ?? "UNSIGNED-PAYLOAD";
    const signature = this.#sign(canonical(request, signed, payload), time, keys);
    const credential = `${keys.accessKeyId}/${this.#scope(time)}`;
    const authorization = `AWS4-HMAC-SHA256 Credential=${credential}, SignedHeaders=${names}, Signature=${signature}`;
    return { ...amz, ...added, authorization };
  }

  /** The query that lets anybody make the request for `seconds`, without a question mark. */
  query(request: Signable, seconds: number, keys: Credentials, at: Date = new Date()): string {
    const time = timeOf(at);
    const { sessionToken: token } = keys;
    const query = {
      ...request.query,
      "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
      "X-Amz-Credential": `${keys.accessKeyId}/${this.#scope(time)}`,
      "X-Amz-Date": time,
      "X-Amz-Expires": `${seconds}`,
      ...(token === undefined ? {} : { "X-Amz-Security-Token": token }),
      "X-Amz-SignedHeaders": "host",
    };
    const text = canonical({ ...request, query }, { host: request.host }, "UNSIGNED-PAYLOAD");
    return `${queryText(query)}&X-Amz-Signature=${this.#sign(text, time, keys)}`;
  }

  #sign(request: string, time: string, keys: Credentials): string {
    const hash = Bun.SHA256.hash(request, "hex");
    const text = `AWS4-HMAC-SHA256\n${time}\n${this.#scope(time)}\n${hash}`;
    return hmac(this.#keyOf(time.slice(0, 8), keys.secretAccessKey), text).toString("hex");
  }

  #scope(time: string): string {
    return `${time.slice(0, 8)}/${this.#region}/s3/aws4_request`;
  }

  #keyOf(day: string, secret: string): Buffer {
    const owner = `${day} ${secret}`;
    if (this.#key?.for !== owner) {
      let bytes = hmac(Buffer.from(`AWS4${secret}`), day);
      for (const step of [this.#region, "s3", "aws4_request"]) bytes = hmac(bytes, step);
      this.#key = { for: owner, bytes };
    }
    return this.#key.bytes;
  }
}

/** A key's path below a bucket's, encoded segment by segment. */
export function encodePath(path: string): string {
  return path.split("/").map(encode).join("/");
}

/** Sorted, as it is signed. */
export function queryText(query: Readonly<Record<string, string>>): string {
  return Object.keys(query)
    .toSorted()
    .map((name) => `${encode(name)}=${encode(query[name] ?? "")}`)
    .join("&");
}

function canonical({ method, path, query }: Signable, signed: Fields, payload: string): string {
  const names = Object.keys(signed).toSorted();
  const lines = names.map((name) => `${name}:${(signed[name] ?? "").trim()}\n`).join("");
  return `${method}\n${path}\n${queryText(query)}\n${lines}\n${names.join(";")}\n${payload}`;
}

/** Everything but the unreserved characters of RFC 3986 §2.3. */
function encode(text: string): string {
  return encodeURIComponent(text).replaceAll(
    /[!'()*]/g,
    (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

/** `20130524T000000Z` */
function timeOf(at: Date): string {
  return at.toISOString().replaceAll(/[:-]|\.\d+/g, "");
}

function hmac(key: Buffer, text: string): Buffer {
  return new Bun.CryptoHasher("sha256", key).update(text).digest();
}
