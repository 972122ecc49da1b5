/** Answers: the headers that all of them carry, and the one place where errors take their form. */
import { BlobStoreFull, BlobStoreUnavailable } from "../blobs/port.ts";
import { StoreFull, StoreUnavailable } from "../meta/port.ts";
import { OciError } from "../oci/errors.ts";

/** On every answer below `/v2/`. */
const COMMON = {
  "Docker-Distribution-Api-Version": "registry/2.0",
  "X-Content-Type-Options": "nosniff",
  "Content-Security-Policy": "default-src 'none'; sandbox",
} as const;

export type Headers = Record<string, string>;
type Body = ConstructorParameters<typeof Response>[0];

/** A response hides its body's size until it is sent, and the log wants it before. */
const sizes = new WeakMap<Response, number>();

/** `size`: bytes of a body that does not know its own. */
export function answer(
  status: number,
  headers: Headers,
  body: Body = null,
  size: number = sizeOf(body),
): Response {
  const response = new Response(body, { status, headers: { ...COMMON, ...headers } });
  if (size > 0) sizes.set(response, size);
  return response;
}

/** Bytes of the body; 0 where nobody knows. */
export function bodyBytes(response: Response): number {
  return sizes.get(response) ?? 0;
}

function sizeOf(body: Body): number {
  if (body instanceof Uint8Array) return body.byteLength;
  if (body instanceof Blob) return body.size;
  return typeof body === "string" ? Buffer.byteLength(body) : 0;
}

export function json(status: number, value: unknown, headers: Headers = {}): Response {
  return jsonText(status, JSON.stringify(value), headers);
}

/** The same of what is JSON already. */
export function jsonText(status: number, text: string, headers: Headers = {}): Response {
  return answer(status, { "Content-Type": "application/json", ...headers }, text);
}

/** What a failure means to a client. Failures of our own are told apart by the caller's log, not to the client. */
export function asOciError(error: unknown): OciError {
  if (error instanceof OciError) return error;
  if (error instanceof BlobStoreFull || error instanceof StoreFull) {
    return new OciError(
      "INSUFFICIENT_STORAGE",
      "the registry's storage is full; nothing was stored",
    );
  }
  if (error instanceof StoreUnavailable || error instanceof BlobStoreUnavailable) {
    return new OciError("UNAVAILABLE", undefined, { headers: { "Retry-After": "1" } });
  }
  return new OciError(
    "UNKNOWN",
    "internal error; the server's log has the cause under this request id",
  );
}

/** `HEAD` gets the headers only. */
export function errorAnswer(error: OciError, method: string): Response {
  return method === "HEAD"
    ? answer(error.status, { ...error.headers })
    : json(error.status, error, { ...error.headers });
}
