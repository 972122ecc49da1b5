/** Having a request answered by another node, which alone has what it is about. */
import { streamFrom } from "../base/streams.ts";
import { BlobStoreUnavailable } from "../blobs/port.ts";
import { OciError } from "../oci/errors.ts";
import { parseRoute } from "../oci/route.ts";
import type { Nodes } from "./node.ts";
import { PeerUnavailable, type PeerHandler, type Peers } from "./peer/port.ts";
import { isAway, whileLive } from "./while-live.ts";

/** A body that nobody has begun to read. */
interface Body {
  /** Bytes, where the client said so. */
  readonly length: number | undefined;
  stream(): AsyncIterable<Uint8Array<ArrayBuffer>>;
}

/** The head comes when the whole body has been taken, which takes as long as the client wants it to. */
const TIMEOUT_MS = 24 * 3_600_000;
/** What is said from hop to hop, or by the one who answers in the end. */
const OWN_HEADERS = ["connection", "content-length", "date", "keep-alive", "transfer-encoding"];

/**
 * Sends requests to the node that has to answer them. Throws `BLOB_UPLOAD_UNKNOWN` where that node is dead: what it
 * had has to be sent again; `BlobStoreUnavailable` where it lives, but could not be reached, or died meanwhile.
 */
export function forwarder({ nodes, peers }: { readonly nodes: Nodes; readonly peers: Peers }) {
  return async (home: string, request: Request, body: Body): Promise<Response> => {
    const node = nodes.all().find(({ name }) => name === home);
    if (node === undefined || isAway(node)) throw unknown(home);
    const { pathname, search } = new URL(request.url);
    const headers = new Headers(request.headers);
    for (const name of [...OWN_HEADERS, "host", "expect"]) headers.delete(name);
    try {
      return await whileLive(nodes, home, request.signal, async (signal) => {
        const answer = await peers.fetch(node.address, `/v1/forward${pathname}${search}`, {
          method: request.method as "GET",
          headers: Object.fromEntries(headers),
          ...(body.length === 0 ? {} : { body: streamFrom(body.stream()[Symbol.asyncIterator]()) }),
          timeoutMs: TIMEOUT_MS,
          signal,
        });
        const said = new Headers(answer.headers);
        for (const name of OWN_HEADERS) said.delete(name);
        // Answers about uploads are short.
        const content = answer.status === 204 ? null : await answer.bytes();
        return new Response(content, { status: answer.status, headers: said });
      });
    } catch (error) {
      if (!(error instanceof PeerUnavailable)) throw error;
      nodes.failed(home);
      throw new BlobStoreUnavailable(`the upload is on node ${home}: ${error.message}`, {
        cause: error,
      });
    }
  };
}

/**
 * The receiving side: `answer` is what answers clients' requests here, and forwards none. What is no upload, every node
 * has itself, and gets 404 here.
 */
export function forwardHandler(answer: (request: Request) => Promise<Response>): PeerHandler {
  return (request, path) => {
    if (parseRoute(path)?.kind !== "upload") return new Response(null, { status: 404 });
    const { origin, search } = new URL(request.url);
    return answer(new Request(`${origin}${path}${search}`, request));
  };
}

function unknown(home: string): OciError {
  return new OciError("BLOB_UPLOAD_UNKNOWN", `the upload was on node ${home}, which is gone`);
}
