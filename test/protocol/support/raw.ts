/** A TCP connection on which a test says each byte itself. */
import { connect, type Socket } from "node:net";

export interface RawResponse {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: ReadonlyMap<string, string>;
  readonly body: Buffer;
}

const PATIENCE_MS = 15_000;

export class RawConnection implements Disposable {
  readonly #socket: Socket;
  #buffer: Buffer = Buffer.alloc(0);
  #closed = false;
  #wake = (): void => {};

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("data", (chunk: Buffer) => {
      this.#buffer = Buffer.concat([this.#buffer, chunk]);
      this.#wake();
    });
    const end = (): void => {
      this.#closed = true;
      this.#wake();
    };
    socket.on("close", end).on("end", end).on("error", end);
  }

  static async open(port: number): Promise<RawConnection> {
    const socket = connect({ host: "127.0.0.1", port });
    await new Promise<void>((resolve, reject) => {
      socket.once("connect", resolve).once("error", reject);
    });
    return new RawConnection(socket);
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Bytes that have arrived and were not read. */
  get waiting(): number {
    return this.#buffer.length;
  }

  write(data: string | Uint8Array): void {
    if (!this.#closed) this.#socket.write(data);
  }

  /** Writes, and waits until the kernel has taken it or the connection is gone. */
  async flush(data: string | Uint8Array): Promise<void> {
    if (this.#closed) return;
    await new Promise<void>((resolve) => {
      const done = (): void => {
        this.#socket.off("close", done);
        resolve();
      };
      this.#socket.once("close", done);
      this.#socket.write(data, done);
    });
  }

  /** Says a whole request. */
  request(
    method: string,
    path: string,
    headers: Headers = {},
    body: string | Uint8Array = "",
  ): void {
    const length =
      method === "GET" || method === "HEAD" ? {} : { "Content-Length": `${body.length}` };
    this.write(headOf(method, path, { ...length, ...headers }));
    if (body.length > 0) this.write(body);
  }

  /** The next response, interim ones included; `method` is that of its request. */
  async response(method = "GET"): Promise<RawResponse> {
    const end = await this.#find("\r\n\r\n");
    const [first = "", ...lines] = this.#take(end).toString("latin1").split("\r\n");
    this.#take(4);
    const headers = new Map(
      lines.map((line) => {
        const colon = line.indexOf(":");
        return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()] as const;
      }),
    );
    const status = Number(first.split(" ")[1]);
    const empty = method === "HEAD" || status === 204 || status === 304 || status < 200;
    return { status, headers, body: empty ? Buffer.alloc(0) : await this.#body(headers) };
  }

  /** Whether the other side closes within `ms`. */
  async closes(ms: number): Promise<boolean> {
    const deadline = Date.now() + ms;
    while (!this.#closed && Date.now() < deadline) await Bun.sleep(20);
    return this.#closed;
  }

  pause(): void {
    this.#socket.pause();
  }

  /** Ends our side as a client that vanishes: with a reset. */
  destroy(): void {
    this.#socket.resetAndDestroy();
  }

  [Symbol.dispose](): void {
    this.#socket.destroy();
  }

  async #body(headers: ReadonlyMap<string, string>): Promise<Buffer> {
    const length = headers.get("content-length");
    if (length !== undefined) return this.#read(Number(length));
    const chunks: Buffer[] = [];
    for (;;) {
      const size = Number.parseInt(this.#take(await this.#find("\r\n")).toString(), 16);
      this.#take(2);
      const chunk = await this.#read(size + 2);
      if (size === 0) return Buffer.concat(chunks);
      chunks.push(chunk.subarray(0, size));
    }
  }

  async #find(mark: string): Promise<number> {
    await this.#until(() => this.#buffer.includes(mark), JSON.stringify(mark));
    return this.#buffer.indexOf(mark);
  }

  async #read(size: number): Promise<Buffer> {
    await this.#until(() => this.#buffer.length >= size, `${size} bytes`);
    return this.#take(size);
  }

  #take(size: number): Buffer {
    const taken = this.#buffer.subarray(0, size);
    this.#buffer = this.#buffer.subarray(size);
    return taken;
  }

  async #until(condition: () => boolean, what: string): Promise<void> {
    const deadline = Date.now() + PATIENCE_MS;
    while (!condition()) {
      const got = `after ${this.#buffer.length} bytes: ${this.#buffer.subarray(0, 200).toString()}`;
      if (this.#closed) throw new Error(`the connection closed before ${what}, ${got}`);
      if (Date.now() > deadline) throw new Error(`${PATIENCE_MS} ms without ${what}, ${got}`);
      await Promise.race([new Promise<void>((resolve) => (this.#wake = resolve)), Bun.sleep(500)]);
    }
  }
}

type Headers = Readonly<Record<string, string>>;

export function headOf(method: string, path: string, headers: Headers = {}): string {
  const lines = Object.entries({ Host: "registry.test", ...headers });
  return `${method} ${path} HTTP/1.1\r\n${lines.map(([k, v]) => `${k}: ${v}\r\n`).join("")}\r\n`;
}

/** One piece of a chunked body; the empty one ends it. */
export function chunkOf(bytes: string | Uint8Array): Buffer {
  const size = Buffer.byteLength(bytes).toString(16);
  return Buffer.concat([Buffer.from(`${size}\r\n`), Buffer.from(bytes), Buffer.from("\r\n")]);
}
