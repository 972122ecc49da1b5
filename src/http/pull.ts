/** GET and HEAD of manifests and blobs: distribution-spec §Pull; RFC 9110 §14 for ranges. */
import type { ByteRange } from "../blobs/port.ts";
import type { Config, RedirectConfig } from "../config/config.ts";
import type { Digest } from "../oci/digest.ts";
import type { RepositoryName } from "../oci/name.ts";
import { resolveRange, type ByteSpan } from "../oci/range.ts";
import type { Reference } from "../oci/route.ts";
import type { PulledBlob, Purpose } from "../registry/pull.ts";
import { staleWarning, type Call } from "./call.ts";
import { isNotModified, rangeApplies } from "./conditional.ts";
import { multipart } from "./multipart.ts";
import { answer, type Headers } from "./respond.ts";

/** Parts of one ranged answer; requests for more are answered whole. */
const RANGE_PARTS_MAX = 64;

export async function getManifest(
  call: Call,
  name: RepositoryName,
  reference: Reference,
): Promise<Response> {
  const { digest, mediaType, size, bytes, stale } = await call.registry.pullManifest(
    name,
    reference,
    purposeOf(call),
  );
  const headers: Headers = {
    "Docker-Content-Digest": digest,
    ETag: `"${digest}"`,
    ...staleWarning(stale),
  };
  if (isNotModified(call.request.headers, digest)) return answer(304, headers);
  headers["Content-Type"] = mediaType;
  if (call.method === "HEAD") return answer(200, { ...headers, "Content-Length": `${size}` });
  return answer(200, headers, bytes);
}

export async function getBlob(call: Call, name: RepositoryName, digest: Digest): Promise<Response> {
  const blob = await call.registry.pullBlob(name, digest, purposeOf(call));
  const { headers: sent } = call.request;
  const headers: Headers = {
    "Docker-Content-Digest": digest,
    ETag: `"${digest}"`,
    "Accept-Ranges": "bytes",
    ...staleWarning(blob.stale),
  };
  if (isNotModified(sent, digest)) return answer(304, headers);
  const elsewhere = await redirection(call, blob);
  if (elsewhere !== undefined) return answer(307, { ...headers, Location: elsewhere });
  headers["Content-Type"] = "application/octet-stream";

  // RFC 9110 §14.2: a Range means something with GET only.
  const applies = call.method === "GET" && rangeApplies(sent, digest);
  const range = applies ? sent.get("range") : null;
  const wanted = resolveRange(range, blob.size, RANGE_PARTS_MAX);
  if (wanted.kind === "unsatisfiable") {
    return answer(416, { ...headers, "Content-Range": `bytes */${blob.size}` });
  }
  if (wanted.kind === "whole") return body(call, 200, headers, blob, undefined);
  const [first, ...rest] = wanted.spans;
  if (first !== undefined && rest.length === 0) {
    const span = `bytes ${first.start}-${first.end}/${blob.size}`;
    return body(call, 206, { ...headers, "Content-Range": span }, blob, first);
  }
  const parts = multipart(wanted.spans, blob, "application/octet-stream");
  return answer(206, { ...headers, "Content-Type": parts.contentType }, parts.stream());
}

/** Where the client is to fetch the bytes, if not here; it takes its Range along. */
async function redirection(call: Call, blob: PulledBlob): Promise<string | undefined> {
  const redirect = redirectOf(call.config);
  if (call.method !== "GET" || redirect?.enabled !== true) return undefined;
  const agent = call.request.headers.get("user-agent")?.toLowerCase() ?? "";
  if (redirect.exceptUserAgents.some((part) => agent.includes(part.toLowerCase()))) {
    return undefined;
  }
  return blob.url(redirect.ttl / 1000);
}

function redirectOf({ stores }: Config): RedirectConfig | undefined {
  return "bucket" in stores ? stores.bucket.redirect : undefined;
}

function purposeOf({ method }: Call): Purpose {
  return method === "HEAD" ? "promise" : "bytes";
}

async function body(
  call: Call,
  status: number,
  headers: Headers,
  blob: PulledBlob,
  span: ByteSpan | undefined,
): Promise<Response> {
  if (call.method === "HEAD") {
    return answer(status, { ...headers, "Content-Length": `${blob.size}` });
  }
  const length = span === undefined ? blob.size : span.end - span.start + 1;
  return answer(status, headers, await blob.body(span satisfies ByteRange | undefined), length);
}
