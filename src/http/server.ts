/** The sockets: Bun.serve on every listen address, TLS that can change under way, and an orderly end. */
import { describe, type Logger } from "../base/log.ts";

/** The other end of a connection. */
export interface Peer {
  /** IP address, an IPv4 one always in its own form; asking costs, so ask only when it is needed. */
  readonly address: string | undefined;
  /** Seconds (at most 255) without a byte moving after which this request's connection is cut; 0 never. */
  setIdle(seconds: number): void;
}

/** Whether this process should be sent requests, and if not, why. */
export interface Readiness {
  readonly ready: boolean;
  /** Sentences for the operator; empty when ready. */
  readonly reasons: readonly string[];
}

export interface Address {
  /** `""`: every interface. */
  readonly host: string;
  readonly port: number;
}

/** PEM texts. */
export interface Certificate {
  readonly cert: string;
  readonly key: string;
}

export interface ServerOptions {
  readonly listen: readonly Address[];
  readonly handler: (request: Request, peer: Peer) => Promise<Response>;
  readonly certificate: Certificate | undefined;
  readonly log: Logger;
}

/**
 * A kept-alive connection, or a request that moves no byte, is cut after so many seconds unless the handler
 * says otherwise; longer than the 60 s after which proxies usually give up a connection, so that they close
 * first. A head that does not arrive is cut by Bun after 12 s.
 */
const IDLE_SECONDS = 120;
/** For so long clients are told to close, before the socket is: they find another worker or node instead of an error. */
const FAREWELL_MS = 1000;
const POLL_MS = 10;
const TICK_SECONDS = 4;

type Socket = ReturnType<typeof Bun.serve>;

export class HttpServer {
  readonly #options: ServerOptions;
  #sockets: Socket[];
  /** Sockets of an earlier certificate that still have requests. */
  readonly #former = new Set<Socket>();
  #draining = false;

  /** Listens at once. Throws when an address cannot be had or the certificate cannot be used. */
  constructor(options: ServerOptions) {
    this.#options = options;
    this.#sockets = this.#open(options.certificate);
  }

  /**
   * New connections get this certificate; those that are open keep theirs until their next answer, which
   * closes them. Throws, and changes nothing, when it cannot be used.
   */
  async setCertificate(certificate: Certificate): Promise<void> {
    const former = this.#sockets;
    this.#sockets = this.#open(certificate);
    for (const socket of former) this.#former.add(socket);
    await Bun.sleep(FAREWELL_MS);
    await Promise.all(former.map((socket) => this.#retire(socket)));
  }

  /**
   * Answers what is under way and what still arrives for a second, then no more; cuts what is left after `timeout` ms.
   * Without the second (`farewell` 0) new connections are left at once to others that listen on the same port.
   */
  async drain(timeout: number, farewell: number = FAREWELL_MS): Promise<void> {
    const deadline = Date.now() + timeout;
    this.#draining = true;
    await Bun.sleep(Math.min(farewell, timeout));
    const sockets = [...this.#sockets, ...this.#former];
    // The promise of stop() also waits for connections that never sent a request: count requests instead.
    for (const socket of sockets) void socket.stop();
    while (Date.now() < deadline && sockets.some((socket) => socket.pendingRequests > 0))
      await Bun.sleep(POLL_MS);
    for (const socket of sockets) void socket.stop(true);
  }

  async #retire(socket: Socket): Promise<void> {
    void socket.stop();
    while (socket.pendingRequests > 0) await Bun.sleep(POLL_MS * 10);
    this.#former.delete(socket);
  }

  #open(certificate: Certificate | undefined): Socket[] {
    const opened: Socket[] = [];
    try {
      for (const address of this.#options.listen) opened.push(this.#listen(address, certificate));
    } catch (error) {
      for (const socket of opened) void socket.stop(true);
      throw error;
    }
    return opened;
  }

  #listen(address: Address, certificate: Certificate | undefined): Socket {
    const { handler, log } = this.#options;
    return Bun.serve({
      ...(address.host === "" ? {} : { hostname: address.host }),
      port: address.port,
      reusePort: true,
      ...(certificate === undefined ? {} : { tls: { ...certificate } }),
      development: false,
      idleTimeout: IDLE_SECONDS,
      // Bodies are limited where their kind is known.
      maxRequestBodySize: 2 ** 50,
      fetch: (request, socket) => {
        const answer = handler(request, new SocketPeer(request, socket));
        return this.#draining || this.#former.has(socket) ? farewell(answer) : answer;
      },
      error: (error) => unexpected(error, log),
    });
  }
}

/** How a listener for both IPv4 and IPv6 shows an IPv4 address. */
const MAPPED = "::ffff:";

class SocketPeer implements Peer {
  readonly #request: Request;
  readonly #socket: Socket;
  constructor(request: Request, socket: Socket) {
    this.#request = request;
    this.#socket = socket;
  }
  get address(): string | undefined {
    const address = this.#socket.requestIP(this.#request)?.address;
    return address?.startsWith(MAPPED) === true ? address.slice(MAPPED.length) : address;
  }
  setIdle(seconds: number): void {
    // Bun counts in ticks of four seconds and cuts up to one of them early.
    this.#socket.timeout(this.#request, seconds === 0 ? 0 : Math.min(255, seconds + TICK_SECONDS));
  }
}

async function farewell(answer: Promise<Response>): Promise<Response> {
  const response = await answer;
  response.headers.set("Connection", "close");
  return response;
}

/** The handler answers its own errors; what arrives here is a defect, and nothing of it is for the client. */
function unexpected(error: Error, log: Logger): Response {
  const id = crypto.randomUUID();
  log.error("a request failed unexpectedly", { id, error: describe(error) });
  const message = `internal error; the log has more under request id ${id}`;
  return Response.json(
    { errors: [{ code: "UNKNOWN", message }] },
    { status: 500, headers: { "X-Request-Id": id } },
  );
}
