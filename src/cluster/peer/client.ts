/** Asks the peer ports of other nodes, as this node. */
import { systemClock, type Clock } from "../../base/clock.ts";
import { PEER_NAME, type ClusterCertificates } from "./certificates.ts";
import { unreachable } from "./failures.ts";
import { PeerUnavailable, type PeerRequest, type Peers } from "./port.ts";
import { refusalIn } from "./refusal.ts";
import type { ClusterKeys } from "./secret.ts";
import { watched, type Turns } from "./sending.ts";
import { signToken, TOKEN_HEADER } from "./token.ts";

export interface PeersOptions {
  readonly certificates: ClusterCertificates;
  readonly keys: ClusterKeys;
  /** The name of the node in which requests are made. */
  readonly self: string;
  readonly clock?: Clock;
}

/** Less than a peer port keeps an idle connection, so that none is closed while a request is on its way to it. */
const KEPT_SECONDS = 60;
/** A Blob with more bytes than this is sent as a stream. */
const BLOB_MAX = 1 << 20;

/**
 * Keeps connections. Three things to know:
 * - While a stream or a large Blob is sent, `timeoutMs` counts how long the peer takes no chunk, and after the last one
 *   how long it takes to answer; time that the source of the stream takes does not count.
 * - A GET, HEAD, PUT or DELETE whose body is no stream is sent again by Bun where a kept connection turns out to be
 *   closed: it must bear being made twice. POST and PATCH are made once.
 * - Bun makes at most 256 requests of a process at once (`BUN_CONFIG_MAX_HTTP_REQUESTS`), all kinds together; one that
 *   waits for its turn is already timed.
 */
export function connectPeers(options: PeersOptions): Peers & Disposable {
  return new FetchPeers(options);
}

class FetchPeers implements Peers, Disposable {
  readonly #options: PeersOptions;
  readonly #clock: Clock;
  readonly #forgetRenewals: () => void;
  #session: Bun.FetchSession;

  constructor(options: PeersOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#session = openSession(options.certificates);
    this.#forgetRenewals = options.certificates.onRenewed(() => {
      this.#session.close();
      this.#session = openSession(options.certificates);
    });
  }

  async fetch(address: string, path: string, request: PeerRequest): Promise<Response> {
    const { keys, self } = this.#options;
    request.signal?.throwIfAborted();
    const deadline = new Deadline(request.timeoutMs);
    const { signal } = deadline;
    try {
      const response = await this.#session.fetch(`https://${address}${path}`, {
        method: request.method,
        headers: this.#headers(request),
        ...bodyOf(request.body, deadline),
        signal: request.signal ? AbortSignal.any([request.signal, signal]) : signal,
        redirect: "error",
        decompress: false,
      });
      const refusal = await refusalIn(response);
      if (refusal === undefined) return response;
      throw new PeerUnavailable(`the node at ${address} refuses this node, ${self}: ${refusal}`);
    } catch (error) {
      if (error instanceof PeerUnavailable) throw error;
      request.signal?.throwIfAborted();
      if (deadline.broken) throw deadline.broken.error;
      if (signal.aborted)
        throw new PeerUnavailable(
          `the node at ${address} did not answer ${request.method} ${path} within ${request.timeoutMs} ms`,
        );
      throw unreachable(address, error, keys.fingerprint);
    } finally {
      deadline.end();
    }
  }

  #headers({ headers, body }: PeerRequest): Headers {
    const { keys, self } = this.#options;
    const all = new Headers(headers);
    all.set(TOKEN_HEADER, signToken(keys, self, this.#clock.now()));
    if (!all.has("accept-encoding")) all.set("accept-encoding", "identity");
    // Bun sends a stream in chunks unless it is told the length.
    if (isLarge(body)) all.set("content-length", String(body.size));
    return all;
  }

  [Symbol.dispose](): void {
    this.#forgetRenewals();
    this.#session.close();
  }
}

/** Aborts when the peer has kept us waiting; ended once the head of the answer is there. */
class Deadline implements Turns {
  broken: { readonly error: unknown } | undefined;
  readonly #control = new AbortController();
  readonly #ms: number;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isOver = false;

  constructor(ms: number) {
    this.#ms = ms;
    this.onPeer();
  }

  get signal(): AbortSignal {
    return this.#control.signal;
  }

  onPeer(): void {
    clearTimeout(this.#timer);
    if (!this.#isOver) this.#timer = setTimeout(() => this.#control.abort(), this.#ms);
  }

  onSource(): void {
    clearTimeout(this.#timer);
  }

  onBroken(error: unknown): void {
    clearTimeout(this.#timer);
    this.broken = { error };
  }

  end(): void {
    this.#isOver = true;
    clearTimeout(this.#timer);
  }
}

/** `proxy: false`: what the environment names for the way to the internet is no way to a peer. */
function openSession(certificates: ClusterCertificates): Bun.FetchSession {
  const { ca, cert, key } = certificates.current();
  return new Bun.FetchSession({
    // The name that all nodes share, so that any address will do that the cluster knows a node by.
    tls: { ca, cert, key, serverName: PEER_NAME, rejectUnauthorized: true },
    proxy: false,
    keepAlive: { idleTimeout: KEPT_SECONDS },
  });
}

type Sent = Pick<BunFetchRequestInit, "body">;

function bodyOf(body: PeerRequest["body"], turns: Turns): Sent {
  if (body === undefined) return {};
  if (body instanceof ReadableStream) return { body: watched(body, turns) };
  return { body: isLarge(body) ? watched(body.stream(), turns) : body };
}

function isLarge(body: PeerRequest["body"]): body is Blob {
  return body instanceof Blob && body.size > BLOB_MAX;
}
