/** One TCP connection, byte by byte, for what `fetch` hides: pauses, kept-alive connections, how they end. */
import { connect, type Socket } from "node:net";

export class RawConnection implements Disposable {
  readonly #socket: Socket;
  readonly #chunks: Buffer[] = [];
  #wake: () => void = () => {};
  #ended = false;
  #error: Error | undefined;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("data", (chunk: Buffer) => {
      this.#chunks.push(chunk);
      this.#wake();
    });
    socket.on("close", () => {
      this.#ended = true;
      this.#wake();
    });
    socket.on("error", (error) => {
      this.#error = error;
    });
  }

  static open(port: number): Promise<RawConnection> {
    return new Promise((resolve, reject) => {
      const socket = connect({ port, host: "127.0.0.1" }, () => resolve(new RawConnection(socket)));
      socket.once("error", reject);
    });
  }

  send(data: string | Uint8Array): void {
    this.#socket.write(data);
  }

  /** Head of a request with `Host`. */
  request(
    method: string,
    path: string,
    headers: Readonly<Record<string, string | number>> = {},
  ): void {
    const lines = Object.entries({ Host: "registry", ...headers }).map(
      ([k, v]) => `${k}: ${v}\r\n`,
    );
    this.send(`${method} ${path} HTTP/1.1\r\n${lines.join("")}\r\n`);
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  /** One whole answer with a Content-Length. Throws when the connection ends before. */
  async answer(): Promise<{ status: number; head: string; body: Buffer }> {
    const head = (
      await this.#take((bytes) => {
        const at = bytes.indexOf("\r\n\r\n");
        return at < 0 ? undefined : at + 4;
      })
    ).toString("latin1");
    const length = Number(/^content-length: *(\d+)/im.exec(head)?.[1] ?? 0);
    const body = length === 0 ? Buffer.alloc(0) : await this.#takeLength(length);
    return { status: Number(head.split(" ")[1]), head, body };
  }

  /** Resolves when the other side has closed. */
  async closed(): Promise<void> {
    while (!this.#ended) await this.#more();
  }

  [Symbol.dispose](): void {
    this.#socket.destroy();
  }

  async #takeLength(length: number): Promise<Buffer> {
    let have = this.#chunks.reduce((sum, chunk) => sum + chunk.length, 0);
    while (have < length) {
      const before = this.#chunks.length;
      await this.#moreData();
      for (const chunk of this.#chunks.slice(before)) have += chunk.length;
    }
    return this.#take(() => length);
  }

  async #take(end: (bytes: Buffer) => number | undefined): Promise<Buffer> {
    for (;;) {
      const bytes = Buffer.concat(this.#chunks);
      const at = end(bytes);
      if (at !== undefined) {
        this.#chunks.splice(0, this.#chunks.length, bytes.subarray(at));
        return bytes.subarray(0, at);
      }
      await this.#moreData();
    }
  }

  async #moreData(): Promise<void> {
    if (this.#ended)
      throw new Error("the connection ended in the middle of an answer", { cause: this.#error });
    await this.#more();
  }

  #more(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }
}
