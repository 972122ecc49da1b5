/**
 * Talking to other nodes, on their peer ports: HTTP/1.1 inside mutual TLS, the caller's name in a token. Paths
 * begin with the version of the peer protocol, `/v1/…`, so that two versions of the program run side by side.
 */

/** A node could not be reached, did not answer in time, or is not one of ours. The message names address and cause. */
export class PeerUnavailable extends Error {
  override readonly name = "PeerUnavailable";
}

export interface PeerRequest {
  readonly method: "GET" | "HEAD" | "PUT" | "PATCH" | "POST" | "DELETE";
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array<ArrayBuffer>> | Blob | string;
  /** Milliseconds until the head of the answer must be there; a body that streams has no such end. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
}

/** Asks any node. */
export interface Peers {
  /**
   * Sends a request to the node at `address` (`host:port`). Whatever status it answers is the result, but for 401
   * and 426 (another protocol). Throws `PeerUnavailable`, or the signal's reason.
   */
  fetch(address: string, path: string, request: PeerRequest): Promise<Response>;
}

/** A node that asks us: it holds the cluster's secret, and this is who it says it is. */
export interface PeerCaller {
  readonly node: string;
}

/** Answers one part of the protocol; `path` is what follows its prefix, query included in `request.url`. */
export type PeerHandler = (
  request: Request,
  path: string,
  caller: PeerCaller,
) => Promise<Response> | Response;
