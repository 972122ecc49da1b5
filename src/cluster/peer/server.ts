/** The peer port: answers the nodes of this cluster, and nobody else. */
import { systemClock, type Clock } from "../../base/clock.ts";
import { describe, type Logger } from "../../base/log.ts";
import type { ClusterCertificates } from "./certificates.ts";
import type { PeerHandler } from "./port.ts";
import { PEER_PROTOCOL, versionIn } from "./protocol.ts";
import { refuse } from "./refusal.ts";
import type { ClusterKeys } from "./secret.ts";
import { TOKEN_HEADER, verifyToken } from "./token.ts";

/**
 * By prefix: `/v1/state` answers that path, and `/v1/blobs/` or `/v1/blobs` all that is below; the longest that fits
 * is asked, with what follows it.
 */
export type PeerHandlers = Readonly<Record<string, PeerHandler>>;

export interface PeerServerOptions {
  /** `hostname` `""`: every interface. `port` 0: one that the system chooses. */
  readonly address: { readonly hostname: string; readonly port: number };
  readonly certificates: ClusterCertificates;
  readonly keys: ClusterKeys;
  /** Default: none yet. */
  readonly handlers?: PeerHandlers;
  readonly log: Logger;
  readonly clock?: Clock;
}

export interface PeerServer {
  readonly port: number;
  /** From now on these answer, and other prefixes get 404; until the first are set all prefixes get 503. */
  setHandlers(handlers: PeerHandlers): void;
  /** Sends callers away for a second, lets requests end for up to `timeoutMs` (default 5000) in all, then cuts them. */
  close(timeoutMs?: number): Promise<void>;
}

/**
 * Seconds without a byte moving after which a connection is cut, between requests and amid bodies: a machine that lost
 * its power says no goodbye. More than for how long clients keep a connection, so that it is they who close it.
 */
const IDLE_SECONDS = 255;
/** A request's body up to so many bytes is taken to arrive at once, so that silence means that a handler works. */
const SMALL_BODY = 64 << 10;
const FAREWELL_MS = 1000;
const POLL_MS = 20;

type Socket = ReturnType<typeof Bun.serve>;

/** Listens at once. Throws Bun's error with its `code` where the address cannot be had. */
export function servePeers(options: PeerServerOptions): PeerServer {
  return new TlsPeerServer(options);
}

class TlsPeerServer implements PeerServer {
  readonly port: number;
  readonly #options: PeerServerOptions;
  readonly #clock: Clock;
  readonly #forgetRenewals: () => void;
  #handlers: readonly (readonly [prefix: string, PeerHandler])[] | undefined;
  #socket: Socket;
  /** Sockets with a former certificate that still have requests. */
  readonly #former = new Set<Socket>();
  #isClosing = false;

  constructor(options: PeerServerOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    if (options.handlers) this.setHandlers(options.handlers);
    // A port shared for renewals would be shared with a second instance as well: the first socket must be alone.
    const alone = this.#listen(options.address.port, false);
    this.port = alone.port ?? options.address.port;
    void alone.stop(true);
    this.#socket = this.#listen(this.port, true);
    this.#forgetRenewals = options.certificates.onRenewed(() => void this.#renew());
  }

  setHandlers(handlers: PeerHandlers): void {
    this.#handlers = Object.entries(handlers).sort(([a], [b]) => b.length - a.length);
  }

  async close(timeoutMs = 5000): Promise<void> {
    const deadline = performance.now() + timeoutMs;
    this.#forgetRenewals();
    this.#isClosing = true;
    await Bun.sleep(Math.min(FAREWELL_MS, timeoutMs));
    const sockets = [this.#socket, ...this.#former];
    for (const socket of sockets) void socket.stop();
    while (performance.now() < deadline && sockets.some((socket) => socket.pendingRequests > 0))
      await Bun.sleep(POLL_MS);
    for (const socket of sockets) void socket.stop(true);
  }

  /** `reload({ tls })` of Bun keeps the certificate; a second socket on the port takes the new connections. */
  async #renew(): Promise<void> {
    const former = this.#socket;
    try {
      this.#socket = this.#listen(this.port, true);
    } catch (error) {
      this.#options.log.error("the peer port cannot use its new certificate", {
        error: describe(error),
      });
      return;
    }
    this.#former.add(former);
    await Bun.sleep(FAREWELL_MS);
    void former.stop();
    while (former.pendingRequests > 0) await Bun.sleep(POLL_MS);
    this.#former.delete(former);
  }

  #listen(port: number, isShared: boolean): Socket {
    const { address, certificates } = this.#options;
    const { ca, cert, key } = certificates.current();
    return Bun.serve({
      ...(address.hostname === "" ? {} : { hostname: address.hostname }),
      port,
      reusePort: isShared,
      tls: { ca, cert, key, requestCert: true, rejectUnauthorized: true },
      development: false,
      idleTimeout: IDLE_SECONDS,
      maxRequestBodySize: 2 ** 50,
      fetch: async (request, socket) => {
        const isLong = !hasLargeBody(request);
        if (isLong) socket.timeout(request, 0);
        const response = await this.#answer(request);
        if (isLong) socket.timeout(request, IDLE_SECONDS);
        if (this.#isClosing || this.#former.has(socket))
          response.headers.set("connection", "close");
        return response;
      },
      error: (error) => this.#failed(error, "a request"),
    });
  }

  async #answer(request: Request): Promise<Response> {
    const token = request.headers.get(TOKEN_HEADER);
    const caller = verifyToken(this.#options.keys, token, this.#clock.now());
    if ("refusal" in caller) return refuse({ status: 401, error: caller.refusal });
    const path = pathOf(request.url);
    const version = versionIn(path);
    if (version !== undefined && version !== PEER_PROTOCOL)
      return refuse({
        status: 426,
        error: `this node speaks ${PEER_PROTOCOL} of the peer protocol, and not ${version}`,
        headers: { upgrade: `holdfast-peer/${PEER_PROTOCOL.slice(1)}` },
      });
    if (this.#handlers === undefined)
      return refuse({
        status: 503,
        error: "this node is still starting",
        headers: { "retry-after": "1" },
      });
    const found = this.#handlers.find(([prefix]) => isBelow(path, prefix));
    if (found === undefined)
      return refuse({ status: 404, error: `nothing answers ${path} on a peer port` });
    const [prefix, handle] = found;
    try {
      return await handle(request, path.slice(prefix.length), caller);
    } catch (error) {
      if (request.signal.aborted) return refuse({ status: 500, error: "the caller has gone away" });
      return this.#failed(error, `${request.method} ${path} of node ${caller.node}`);
    }
  }

  #failed(error: unknown, what: string): Response {
    this.#options.log.error(`${what} failed on the peer port`, { error: describe(error) });
    const reason = error instanceof Error ? error.message : String(error);
    return refuse({ status: 500, error: reason });
  }
}

function isBelow(path: string, prefix: string): boolean {
  return (
    path.startsWith(prefix) && (prefix.endsWith("/") || /^(?:\/|$)/.test(path.slice(prefix.length)))
  );
}

/** As it was sent, without query. */
function pathOf(url: string): string {
  const start = url.indexOf("/", url.indexOf("://") + 3);
  const end = url.indexOf("?", start);
  return start < 0 ? "/" : url.slice(start, end < 0 ? undefined : end);
}

function hasLargeBody({ headers }: Request): boolean {
  if (headers.has("transfer-encoding")) return true;
  return Number(headers.get("content-length") ?? 0) > SMALL_BODY;
}
