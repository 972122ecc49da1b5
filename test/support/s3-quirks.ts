/**
 * A proxy before a real S3 server that has the rules of Storj's gateway and the faults of a network, and counts
 * what passes. Requests go on as they are, `Host` included, so that their signatures stay true.
 */
import { connect, createServer, type Server, type Socket } from "node:net";
import { Fault, type FaultAction, type FaultOptions } from "./s3-quirks/faults.ts";
import { readRequest, type S3Request } from "./s3-quirks/request.ts";
import { Limits, NO_RULES, refusedByHead, type Refusal, type S3Rules } from "./s3-quirks/rules.ts";
import { lacking, ServerSide, shuffled, type S3Target } from "./s3-quirks/server-side.ts";
import { answerFraming, encodeHead, header, statusOf, Wire, type Head } from "./s3-quirks/wire.ts";

export { NO_RULES, STORJ_RULES, type S3Rules } from "./s3-quirks/rules.ts";
export type { S3Request } from "./s3-quirks/request.ts";

export interface S3QuirksOptions {
  readonly target: S3Target;
  /** Default: none. */
  readonly rules?: Partial<S3Rules>;
  /** Port on 127.0.0.1; 0 takes a free one. */
  readonly port?: number;
}

export interface LoggedRequest {
  readonly operation: string;
  readonly bucket: string;
  readonly key: string;
  /** 0 where no answer was sent. */
  status: number;
  /** The rule that refused it. */
  rule: string | undefined;
  /** Bytes of the bodies, framing included. */
  sent: number;
  received: number;
  /** Milliseconds, `undefined` while it is under way. */
  duration: number | undefined;
}

/** An upstream connection idle for longer is not used again. */
const IDLE_MS = 2000;
const LOG_MAX = 200_000;

export class S3Quirks implements AsyncDisposable {
  /** May be changed at any time. */
  rules: S3Rules;
  /** Milliseconds that every request is held back. */
  latency = 0;
  /** Of all bodies of one direction together; 0 is no limit. */
  bytesPerSecond = 0;
  /** Milliseconds that an object lives on after its DELETE was answered; 0 is none. */
  deleteDelay = 0;
  /** Every request since the last `clear`, in the order of arrival. */
  log: LoggedRequest[] = [];
  readonly #target: URL;
  readonly #side: ServerSide;
  readonly #limits = new Limits();
  readonly #faults: Fault[] = [];
  readonly #sockets = new Set<Socket>();
  readonly #late = new Set<Promise<void>>();
  /** When the next byte may pass, by direction. */
  readonly #free = { up: 0, down: 0 };
  #server: Server;
  #port: number;

  private constructor(options: S3QuirksOptions) {
    this.rules = { ...NO_RULES, ...options.rules };
    this.#target = new URL(options.target.endpoint);
    this.#side = new ServerSide(options.target);
    this.#server = this.#listener();
    this.#port = options.port ?? 0;
  }

  static async start(options: S3QuirksOptions): Promise<S3Quirks> {
    const proxy = new S3Quirks(options);
    await proxy.listen();
    return proxy;
  }

  get endpoint(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** Requests by operation since the last `clear`. */
  counts(): Record<string, number> {
    const counts: Record<string, number> = {};
    for (const { operation } of this.log) counts[operation] = (counts[operation] ?? 0) + 1;
    return counts;
  }

  /** Requests that a rule has refused since the last `clear`. */
  refused(rule?: keyof S3Rules): LoggedRequest[] {
    return this.log.filter(
      (entry) => entry.rule !== undefined && (rule ?? entry.rule) === entry.rule,
    );
  }

  clear(): void {
    this.log = [];
  }

  /** In force until disposed of. The first of several that befall a request counts. */
  inject(action: FaultAction, options: FaultOptions = {}): Fault {
    const remove = (fault: Fault): void => {
      this.#faults.splice(this.#faults.indexOf(fault), 1);
    };
    const fault = new Fault(action, options, remove);
    this.#faults.push(fault);
    return fault;
  }

  /** Nobody listens any more, and what was connected is reset. */
  async refuseConnections(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#server.close(() => resolve());
    for (const socket of this.#sockets) socket.resetAndDestroy();
    await promise;
  }

  /** Listens, again on the same port. */
  async listen(): Promise<void> {
    this.#server = this.#listener();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#server.once("error", reject);
    this.#server.listen(this.#port, "127.0.0.1", () => resolve());
    await promise;
    const address = this.#server.address();
    if (typeof address === "object" && address !== null) this.#port = address.port;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#server.listening) await this.refuseConnections();
    await Promise.all(this.#late);
  }

  #listener(): Server {
    return createServer({ noDelay: true }, (socket) => {
      this.#own(socket);
      void this.#serve(new Wire(socket));
    });
  }

  #own(socket: Socket): void {
    this.#sockets.add(socket);
    socket.once("close", () => this.#sockets.delete(socket));
  }

  /** One client's connection to its end, with one connection to the server of its own. */
  async #serve(client: Wire): Promise<void> {
    const upstream = new Upstream(this.#target, (socket) => this.#own(socket));
    client.socket.once("close", () => upstream.drop());
    try {
      for (;;) {
        const head = await client.head();
        if (head === undefined) break;
        const request = readRequest(head);
        const entry = this.#note(request);
        const start = performance.now();
        try {
          if (!(await this.#answer(request, entry, client, upstream))) break;
        } finally {
          entry.duration = performance.now() - start;
        }
      }
      client.socket.end();
    } catch {
      // Whoever is still there learns it the way it happened: the connection breaks.
      if (!client.socket.writableEnded) client.reset();
    } finally {
      upstream.drop();
    }
  }

  #note({ operation, bucket, key }: S3Request): LoggedRequest {
    const entry: LoggedRequest = {
      operation,
      bucket,
      key,
      status: 0,
      rule: undefined,
      sent: 0,
      received: 0,
      duration: undefined,
    };
    if (this.log.length >= LOG_MAX) this.log.splice(0, LOG_MAX / 2);
    this.log.push(entry);
    return entry;
  }

  /** False when the connection must not be used again. */
  async #answer(
    request: S3Request,
    entry: LoggedRequest,
    client: Wire,
    upstream: Upstream,
  ): Promise<boolean> {
    const action = this.#faults.find((fault) => fault.befalls(request))?.action;
    if (this.latency > 0) await Bun.sleep(this.latency);
    if (action !== undefined) {
      if ("delay" in action) await Bun.sleep(action.delay);
      else if ("hang" in action && action.hang === "request") return hang(client);
      else if ("answer" in action) {
        const refusal = { rule: undefined, status: action.answer, message: action.code, ...action };
        return this.#refuse(request, entry, client, refusal);
      }
    }
    const refusal = refusedByHead(this.rules, request) ?? this.#limits.refuse(this.rules, request);
    if (refusal !== undefined) return this.#refuse(request, entry, client, refusal);
    const plain = action === undefined || "delay" in action;
    if (plain && this.rules.shuffledListing && request.operation === "ListObjectsV2")
      return this.#own200(request, entry, client, await this.#side.list(request));
    if (plain && this.deleteDelay > 0 && request.operation === "DeleteObject")
      return this.#deleteLate(request, entry, client);
    const looksAtParts = this.rules.exactParts || this.rules.partSize;
    if (looksAtParts && request.operation === "CompleteMultipartUpload") {
      const body = await this.#gather(request, entry, client);
      const why = await this.#side.refuseComplete(this.rules, request, body.toString("utf8"));
      if (why !== undefined) return this.#send(request, entry, client, why);
      return this.#forward(request, entry, client, upstream, action, body);
    }
    return this.#forward(request, entry, client, upstream, action);
  }

  /** Passes request and answer on. */
  async #forward(
    request: S3Request,
    entry: LoggedRequest,
    client: Wire,
    upstream: Upstream,
    action: FaultAction | undefined,
    body?: Buffer,
  ): Promise<boolean> {
    const { method } = request;
    const ignores =
      this.rules.ignoreIfMatch &&
      /^(?:PUT|POST|DELETE)$/.test(method) &&
      header(request.head, "if-match") !== undefined;
    const server = await upstream.open();
    await server.write(
      encodeHead(ignores ? await this.#side.resign(request, "if-match") : request.head),
    );
    const sending = this.#sendBody(request, entry, client, server, action, body);
    // The server may answer before it has read everything; what goes wrong shows where it is awaited.
    sending.catch(() => {});
    let head = await server.head();
    while (head !== undefined && statusOf(head) < 200) {
      await client.write(encodeHead(head));
      head = await server.head();
    }
    if (head === undefined) {
      await sending;
      throw new Error("the server closed the connection");
    }
    if (action !== undefined && "lose" in action) throw new Error("the answer gets lost");
    if (action !== undefined && "hang" in action) return hang(client);
    entry.status = statusOf(head);
    const leaveOut = action !== undefined && "leaveOut" in action ? action.leaveOut : undefined;
    const reorders = this.rules.shuffledListing && request.operation === "ListMultipartUploads";
    const rewrites = reorders || leaveOut !== undefined;
    if (rewrites) {
      const text = (await collect(server.body(answerFraming(head, method)))).toString("utf8");
      const left = leaveOut === undefined ? text : lacking(text, leaveOut);
      await this.#own200(request, entry, client, reorders ? shuffled(left, "Upload") : left);
    } else await this.#sendAnswer(head, method, entry, client, server, action);
    await sending;
    const keeps = !/close/i.test(header(head, "connection") ?? "");
    const ends = answerFraming(head, method) === "close";
    if (keeps && !ends) upstream.rest();
    else upstream.drop();
    return !ends && (keeps || rewrites);
  }

  async #sendBody(
    request: S3Request,
    entry: LoggedRequest,
    client: Wire,
    server: Wire,
    action: FaultAction | undefined,
    gathered: Buffer | undefined,
  ): Promise<void> {
    const cut = action !== undefined && "cutRequest" in action ? action.cutRequest : Infinity;
    const chunks = gathered === undefined ? client.body(request.framing) : [gathered];
    let sent = 0;
    for await (const chunk of chunks) {
      if (sent + chunk.length > cut) {
        await server.write(chunk.subarray(0, cut - sent));
        server.socket.destroy();
        client.reset();
        throw new Error("the request is cut");
      }
      sent += chunk.length;
      if (gathered === undefined) entry.sent += chunk.length;
      await this.#pace("up", chunk.length);
      await server.write(chunk);
    }
  }

  async #sendAnswer(
    head: Head,
    method: string,
    entry: LoggedRequest,
    client: Wire,
    server: Wire,
    action: FaultAction | undefined,
  ): Promise<void> {
    const cut = action !== undefined && "cutAnswer" in action ? action : undefined;
    await client.write(encodeHead(head));
    for await (const chunk of server.body(answerFraming(head, method))) {
      await this.#pace("down", chunk.length);
      if (cut !== undefined && entry.received + chunk.length > cut.cutAnswer) {
        await client.write(chunk.subarray(0, cut.cutAnswer - entry.received));
        if (cut.gently === true) client.socket.end();
        throw new Error("the answer is cut");
      }
      entry.received += chunk.length;
      await client.write(chunk);
    }
  }

  async #pace(direction: "up" | "down", bytes: number): Promise<void> {
    if (this.bytesPerSecond === 0) return;
    const now = performance.now();
    const at = Math.max(now, this.#free[direction]) + (bytes / this.bytesPerSecond) * 1000;
    this.#free[direction] = at;
    if (at - now > 1) await Bun.sleep(at - now);
  }

  async #gather(request: S3Request, entry: LoggedRequest, client: Wire): Promise<Buffer> {
    const body = await collect(client.body(request.framing));
    entry.sent += body.length;
    return body;
  }

  async #deleteLate(request: S3Request, entry: LoggedRequest, client: Wire): Promise<boolean> {
    const late = Bun.sleep(this.deleteDelay).then(() => this.#side.delete(request));
    this.#late.add(late);
    void late.finally(() => this.#late.delete(late));
    entry.status = 204;
    await client.write("HTTP/1.1 204 No Content\r\n\r\n");
    return true;
  }

  /** Reads the body first, as a server does that wants its answer to be read. */
  async #refuse(
    request: S3Request,
    entry: LoggedRequest,
    client: Wire,
    refusal: Omit<Refusal, "rule"> & { readonly rule: string | undefined },
  ): Promise<boolean> {
    for await (const chunk of client.body(request.framing)) entry.sent += chunk.length;
    return this.#send(request, entry, client, refusal);
  }

  async #send(
    { method, key }: S3Request,
    entry: LoggedRequest,
    client: Wire,
    {
      rule,
      status,
      code,
      message,
      headers = {},
    }: Omit<Refusal, "rule"> & {
      readonly rule: string | undefined;
    },
  ): Promise<boolean> {
    entry.rule = rule;
    entry.status = status;
    const resource = key.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
    const text = `<?xml version="1.0" encoding="UTF-8"?><Error><Code>${code}</Code><Message>${message.replaceAll("&", "&amp;").replaceAll("<", "&lt;")}</Message><Resource>${resource}</Resource></Error>`;
    await this.#write(client, entry, method, { status, headers, text });
    return true;
  }

  async #own200(
    { method }: S3Request,
    entry: LoggedRequest,
    client: Wire,
    text: string,
  ): Promise<boolean> {
    entry.status = 200;
    await this.#write(client, entry, method, { status: 200, headers: {}, text });
    return true;
  }

  async #write(
    client: Wire,
    entry: LoggedRequest,
    method: string,
    answer: {
      readonly status: number;
      readonly headers: Readonly<Record<string, string>>;
      readonly text: string;
    },
  ): Promise<void> {
    const body = Buffer.from(answer.text);
    const headers = Object.entries({
      "Content-Type": "application/xml",
      "Content-Length": `${body.length}`,
      ...answer.headers,
    });
    await client.write(encodeHead({ line: `HTTP/1.1 ${answer.status} Answer`, headers }));
    if (method === "HEAD") return;
    entry.received += body.length;
    await client.write(body);
  }
}

/** The connection to the server that goes with one of a client's. */
class Upstream {
  readonly #target: URL;
  readonly #own: (socket: Socket) => void;
  #wire: Wire | undefined;
  #rested = 0;

  constructor(target: URL, own: (socket: Socket) => void) {
    this.#target = target;
    this.#own = own;
  }

  async open(): Promise<Wire> {
    const idle = performance.now() - this.#rested;
    if (this.#wire !== undefined && !this.#wire.closed && idle < IDLE_MS) return this.#wire;
    this.drop();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const port = Number(this.#target.port);
    const socket = connect({ host: this.#target.hostname, port, noDelay: true }, resolve);
    socket.once("error", reject);
    await promise;
    this.#own(socket);
    this.#wire = new Wire(socket);
    return this.#wire;
  }

  /** The connection waits for the next request. */
  rest(): void {
    this.#rested = performance.now();
  }

  drop(): void {
    this.#wire?.socket.destroy();
    this.#wire = undefined;
  }
}

async function collect(chunks: AsyncIterable<Buffer>): Promise<Buffer> {
  const all: Buffer[] = [];
  for await (const chunk of chunks) all.push(chunk);
  return Buffer.concat(all);
}

/** Until the connection ends. */
async function hang(client: Wire): Promise<boolean> {
  if (!client.closed) await new Promise<void>((resolve) => client.socket.once("close", resolve));
  return false;
}
