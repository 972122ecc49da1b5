/** `/v1/uploads/SHADOW`: the bytes of uploads that other nodes receive. */
import { Lru } from "../../base/lru.ts";
import type { PlacedStore, PlacedUpload } from "../../blobs/placed.ts";
import { UploadBusy, type Locator, type UploadProgress } from "../../blobs/port.ts";
import { algorithmOf, parseAlgorithm, type Algorithm } from "../../oci/digest.ts";
import type { PeerHandler } from "../peer/port.ts";
import { isShadow } from "./shadow-names.ts";

/** Proofs of uploads between two requests. One that is forgotten costs a second read of the bytes. */
const PROOFS_MAX = 10_000;
/** A request whose caller has gone is about to end: so many times so many milliseconds. */
const BUSY_TRIES = 20;
const BUSY_MS = 50;

/** - PATCH `?offset=&algorithm=` appends the body at `offset`, 0 for a new upload: 200 and `{"size":…}` once it is
 *    durable; 409 where it is of another size, and removed, or in use. A body that breaks off ends the upload.
 *  - POST `/commit?locator=&size=` makes it the blob of this locator: 201, or 200 where it is that, once it is durable;
 *    409 for another size, 422 another digest.
 *  - DELETE removes it: 204. */
export function serveUploads(local: PlacedStore): PeerHandler {
  const uploads = new ShadowUploads(local);
  return async (request, path) => {
    const [id = "", action, ...rest] = path.split("/");
    if (!isShadow(id) || rest.length > 0) return new Response("not a shadow", { status: 400 });
    const { searchParams: query } = new URL(request.url);
    switch (`${request.method} ${action ?? ""}`) {
      case "PATCH ":
        return uploads.append(id, request, query);
      case "POST commit":
        return uploads.commit(id, query);
      case "DELETE ":
        await uploads.discard(id);
        return new Response(null, { status: 204 });
      default:
        return new Response("no such method", { status: 405 });
    }
  };
}

/** Removes shadows without progress since `before` (milliseconds since the epoch): their uploads are long forgotten. */
export async function purgeShadows(local: PlacedStore, before: number): Promise<number> {
  let purged = 0;
  for await (const { id, modified } of local.uploads()) {
    if (!isShadow(id) || modified >= before) continue;
    try {
      await local.discard(id);
      purged++;
    } catch (error) {
      if (!(error instanceof UploadBusy)) throw error;
    }
  }
  return purged;
}

class ShadowUploads {
  readonly #local: PlacedStore;
  readonly #proofs = new Lru<UploadProgress>(PROOFS_MAX);

  constructor(local: PlacedStore) {
    this.#local = local;
  }

  async append(id: string, request: Request, query: URLSearchParams): Promise<Response> {
    const offset = Number(query.get("offset") ?? Number.NaN);
    const algorithm = parseAlgorithm(query.get("algorithm") ?? "");
    if (!Number.isSafeInteger(offset) || algorithm === undefined) {
      return new Response("offset and algorithm are wanted", { status: 400 });
    }
    const upload = await this.#hold(id, algorithm, offset === 0);
    if (upload.size !== offset) return useless(upload);
    try {
      // A body that breaks off throws.
      for await (const chunk of request.body ?? []) await upload.write(chunk);
    } catch (error) {
      await upload.abort();
      throw error;
    }
    const progress = await upload.suspend();
    this.#proofs.set(id, progress, 1);
    return Response.json({ size: progress.size });
  }

  async commit(id: string, query: URLSearchParams): Promise<Response> {
    const locator = (query.get("locator") ?? "") as Locator;
    const size = Number(query.get("size") ?? Number.NaN);
    const digest = this.#local.digestOf(locator);
    if (digest === undefined) return new Response("not a locator", { status: 400 });
    // Asked again after an answer that was lost, or while the first request is still at it.
    if ((await this.#local.sync(locator)) === size) return new Response(null);
    const upload = await this.#hold(id, algorithmOf(digest), false);
    if (upload.size !== size) return useless(upload);
    const proof = this.#proofs.get(id);
    this.#proofs.delete(id);
    await upload.commitAs(locator, proof);
    return new Response(null, { status: 201 });
  }

  async discard(id: string): Promise<void> {
    this.#proofs.delete(id);
    for (let tries = 1; ; tries++) {
      try {
        return await this.#local.discard(id);
      } catch (error) {
        if (!(error instanceof UploadBusy) || tries === BUSY_TRIES) throw error;
        await Bun.sleep(BUSY_MS);
      }
    }
  }

  async #hold(id: string, algorithm: Algorithm, isNew: boolean): Promise<PlacedUpload> {
    const upload = await this.#local.upload(id, algorithm);
    if (!isNew || upload.size === 0) return upload;
    await upload.abort();
    return await this.#local.upload(id, algorithm);
  }
}

/** The node that receives the upload has other bytes, or none: these do not come to anything any more. */
async function useless(upload: PlacedUpload): Promise<Response> {
  const { size } = upload;
  await upload.abort();
  return Response.json({ size }, { status: 409 });
}
