/** `/v1/blobs/LOCATOR`, and `/v1/blobs/has`. */
import type { PlacedStore } from "../../blobs/placed.ts";
import { DigestMismatch, type Locator } from "../../blobs/port.ts";
import { algorithmOf, makeDigest, type Digest } from "../../oci/digest.ts";
import { resolveRange } from "../../oci/range.ts";
import type { PeerHandler } from "../peer/port.ts";
import { newShadow } from "./shadow-names.ts";

/** A body up to so many bytes is taken at once. */
const SMALL = 64 << 10;
/** Locators that can be asked for at once. */
const ASKED_MAX = 1000;

/** - GET and HEAD: 200 or 206 with one range; 404 where it is not here.
 *  - PUT: 201 once the body is durable, 200 where a blob of its size was here, once that is; 422 for another digest.
 *  - POST: 204 where a blob of this size (`?size=`) is here, once it is durable, else 404.
 *  - DELETE: 204, also where it was not here.
 *  - POST `has` with a JSON list of locators: their sizes, `null` for those that are not here. */
export function serveBlobs(local: PlacedStore): PeerHandler {
  return async (request, path) => {
    if (path === "has") return has(local, request);
    const locator = path as Locator;
    const digest = local.digestOf(locator);
    if (digest === undefined) return new Response("not a locator", { status: 400 });
    switch (request.method) {
      case "GET":
      case "HEAD":
        return get(local, request, locator);
      case "PUT":
        return put(local, request, locator, digest);
      case "POST": {
        const size = new URL(request.url).searchParams.get("size");
        const isHere = String(await local.sync(locator)) === size;
        return new Response(null, { status: isHere ? 204 : 404 });
      }
      case "DELETE":
        await local.delete(locator);
        return new Response(null, { status: 204 });
      default:
        return new Response("no such method", { status: 405 });
    }
  };
}

async function has(local: PlacedStore, request: Request): Promise<Response> {
  const asked: unknown = await request.json();
  if (!Array.isArray(asked) || asked.length > ASKED_MAX) {
    return new Response(`not a list of at most ${ASKED_MAX} locators`, { status: 400 });
  }
  const sizes = asked.map(async (locator: Locator) =>
    typeof locator === "string" && local.digestOf(locator) !== undefined
      ? ((await local.stat(locator)) ?? null)
      : null,
  );
  return Response.json(await Promise.all(sizes));
}

async function get(local: PlacedStore, request: Request, locator: Locator): Promise<Response> {
  const size = await local.stat(locator);
  if (size === undefined) return new Response("not here", { status: 404 });
  const length = { "content-length": String(size) };
  if (request.method === "HEAD") return new Response(null, { headers: length });
  const asked = resolveRange(request.headers.get("range"), size, 1);
  if (asked.kind === "unsatisfiable") {
    return new Response(null, { status: 416, headers: { "content-range": `bytes */${size}` } });
  }
  const span = asked.kind === "spans" ? asked.spans[0] : undefined;
  const body = await local.open(locator, size, span);
  if (body === undefined) return new Response("not here", { status: 404 });
  if (span === undefined) return new Response(body);
  const headers = { "content-range": `bytes ${span.start}-${span.end}/${size}` };
  return new Response(body, { status: 206, headers });
}

async function put(
  local: PlacedStore,
  request: Request,
  locator: Locator,
  digest: Digest,
): Promise<Response> {
  const announced = request.headers.get("content-length");
  const length = announced === null ? undefined : Number(announced);
  if (length !== undefined && length <= SMALL) {
    const bytes = new Uint8Array(await request.arrayBuffer());
    requireDigest(digest, bytes);
    const isThere = (await local.stat(locator)) === bytes.byteLength;
    await local.place(locator, bytes);
    return new Response(null, { status: isThere ? 200 : 201 });
  }
  if (length !== undefined && (await local.sync(locator)) === length) return new Response(null);
  const upload = await local.upload(newShadow(), algorithmOf(digest));
  try {
    // A body that breaks off throws.
    for await (const chunk of request.body ?? []) await upload.write(chunk);
  } catch (error) {
    await upload.abort();
    throw error;
  }
  await upload.commitAs(locator);
  return new Response(null, { status: 201 });
}

function requireDigest(digest: Digest, bytes: Uint8Array): void {
  const algorithm = algorithmOf(digest);
  const hex = new Bun.CryptoHasher(algorithm).update(bytes).digest("hex");
  const actual = makeDigest(algorithm, hex);
  if (actual !== digest) throw new DigestMismatch(digest, actual);
}
