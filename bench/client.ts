import type { Socket } from "bun";

export interface Reply {
  readonly status: number;
  /** Value of a header by its lower-case name. */
  header(name: string): string | undefined;
  readonly body: Buffer;
}

export interface Call {
  readonly method: string;
  /** Path and query. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
}

const none = Buffer.alloc(0);
const headEnd = Buffer.from("\r\n\r\n");

/** Body of a chunked message that starts at `from`, or undefined while it is incomplete. */
const unchunk = (bytes: Buffer, from: number): Buffer | undefined => {
  const parts: Buffer[] = [];
  for (let at = from; ;) {
    const line = bytes.indexOf("\r\n", at);
    if (line < 0) return undefined;
    const size = Number.parseInt(bytes.toString("latin1", at, line), 16);
    if (Number.isNaN(size)) throw new Error("a chunk without a size");
    const next = line + 2 + size + 2;
    if (bytes.length < next) return undefined;
    if (size === 0) return Buffer.concat(parts);
    parts.push(bytes.subarray(line + 2, line + 2 + size));
    at = next;
  }
};

/** The whole reply to a request, or undefined while it is incomplete. */
const parseReply = (bytes: Buffer, method: string): Reply | undefined => {
  const end = bytes.indexOf(headEnd);
  if (end < 0) return undefined;
  const head = bytes.toString("latin1", 0, end);
  const status = Number(head.slice(9, 12));
  const header = (name: string): string | undefined =>
    new RegExp(`\r\n${name}: *([^\r]*)`, "i").exec(head)?.[1];
  const bodyless = method === "HEAD" || status === 204 || status === 304;
  if (bodyless) return { status, header, body: none };
  const from = end + headEnd.length;
  if (/chunked/i.test(header("transfer-encoding") ?? "")) {
    const body = unchunk(bytes, from);
    return body && { status, header, body };
  }
  const length = Number(header("content-length") ?? 0);
  if (bytes.length < from + length) return undefined;
  return { status, header, body: bytes.subarray(from, from + length) };
};

/** What sends requests one after the other. */
export interface Client {
  /** Resolves with the whole reply. */
  request(call: Call): Promise<Reply>;
  close(): void;
}

/** One client of several: each request goes to the next of them. */
export const inTurn = (clients: readonly Client[]): Client => {
  let turn = 0;
  return {
    request: async (call) => {
      const client = clients[turn++ % clients.length];
      if (client === undefined) throw new Error("no clients to take turns");
      return client.request(call);
    },
    close: () => {
      for (const client of clients) client.close();
    },
  };
};

interface Waiting {
  readonly method: string;
  readonly resolve: (reply: Reply) => void;
  readonly reject: (error: Error) => void;
}

/**
 * One kept-alive HTTP/1.1 connection to 127.0.0.1, one request at a time. It exists because `fetch`
 * costs more than the servers do: a load client must not be what is measured.
 */
export class Connection implements Client {
  readonly #port: number;
  #socket: Socket | undefined;
  #unsent: Uint8Array = none;
  #received: Buffer = none;
  #waiting: Waiting | undefined;

  private constructor(port: number) {
    this.#port = port;
  }

  static async open(port: number): Promise<Connection> {
    const connection = new Connection(port);
    await connection.#connect();
    return connection;
  }

  /** Sends a request and resolves with the whole reply. Reconnects if the server said goodbye. */
  async request(call: Call): Promise<Reply> {
    const socket = this.#socket ?? (await this.#connect());
    let head = `${call.method} ${call.path} HTTP/1.1\r\nHost: 127.0.0.1:${this.#port}\r\n`;
    for (const name in call.headers) head += `${name}: ${call.headers[name]}\r\n`;
    if (call.body !== undefined) head += `Content-Length: ${call.body.length}\r\n\r\n`;
    else head += call.method === "POST" ? "Content-Length: 0\r\n\r\n" : "\r\n";
    const message =
      call.body === undefined
        ? Buffer.from(head, "latin1")
        : Buffer.concat([Buffer.from(head, "latin1"), call.body]);
    return new Promise((resolve, reject) => {
      this.#waiting = { method: call.method, resolve, reject };
      this.#send(socket, message);
    });
  }

  close(): void {
    this.#socket?.end();
    this.#socket = undefined;
  }

  async #connect(): Promise<Socket> {
    this.#received = none;
    this.#unsent = none;
    const socket = await Bun.connect({
      hostname: "127.0.0.1",
      port: this.#port,
      socket: {
        data: (_, chunk) => this.#receive(chunk),
        drain: (socket) => this.#send(socket, this.#unsent),
        close: () => this.#lost(new Error("the server closed the connection")),
        error: (_, error) => this.#lost(error),
      },
    });
    this.#socket = socket;
    return socket;
  }

  #send(socket: Socket, message: Uint8Array): void {
    const written = socket.write(message);
    this.#unsent = written < message.length ? message.subarray(Math.max(written, 0)) : none;
  }

  #receive(chunk: Buffer): void {
    const waiting = this.#waiting;
    if (waiting === undefined) return this.#lost(new Error("a reply that nobody asked for"));
    this.#received = this.#received.length === 0 ? chunk : Buffer.concat([this.#received, chunk]);
    try {
      const reply = parseReply(this.#received, waiting.method);
      if (reply === undefined) return;
      this.#received = none;
      this.#waiting = undefined;
      if (/close/i.test(reply.header("connection") ?? "")) this.close();
      waiting.resolve(reply);
    } catch (error) {
      this.#lost(error instanceof Error ? error : new Error(String(error)));
    }
  }

  #lost(error: Error): void {
    this.#socket = undefined;
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.reject(error);
  }
}
