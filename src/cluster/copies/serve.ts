/** The serving side of copies: what other nodes ask of this node's store. */
import {
  BlobStoreFull,
  BlobStoreUnavailable,
  DigestMismatch,
  UploadBusy,
} from "../../blobs/port.ts";
import type { PlacedStore } from "../../blobs/placed.ts";
import type { PeerHandler } from "../peer/port.ts";
import { serveBlobs } from "./serve-blobs.ts";
import { serveUploads } from "./serve-uploads.ts";

export interface CopiesHandlers {
  /** For `/v1/blobs/`. */
  readonly blobs: PeerHandler;
  /** For `/v1/uploads/`. */
  readonly uploads: PeerHandler;
}

/** All of a node's must be answered by one process: it remembers what it has verified of unfinished uploads. */
export function copiesHandlers(local: PlacedStore): CopiesHandlers {
  return { blobs: answering(serveBlobs(local)), uploads: answering(serveUploads(local)) };
}

/** The same, with the store's failures as statuses. */
function answering(handler: PeerHandler): PeerHandler {
  return async (request, path, caller) => {
    try {
      return await handler(request, path.replace(/^\//, ""), caller);
    } catch (error) {
      const status = statusOf(error);
      if (status === undefined) throw error;
      return new Response(error instanceof Error ? error.message : String(error), { status });
    }
  };
}

function statusOf(error: unknown): number | undefined {
  if (error instanceof BlobStoreFull) return 507;
  if (error instanceof BlobStoreUnavailable) return 503;
  if (error instanceof UploadBusy) return 409;
  if (error instanceof DigestMismatch) return 422;
  return undefined;
}
