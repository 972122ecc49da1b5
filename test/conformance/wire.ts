import { connect, type Socket } from "node:net";

const CRLF = "\r\n";

/**
 * One TCP connection, read by line and by count. Nothing between the test and the socket merges header
 * lines, decodes bodies or chooses a framing, as `fetch` would.
 */
export class Wire {
  readonly #socket: Socket;
  #unread: Buffer = Buffer.alloc(0);
  #ended = false;
  #failure: Error | undefined;
  #wake: (() => void) | undefined;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("data", (chunk: Buffer) => {
      this.#unread = this.#unread.length === 0 ? chunk : Buffer.concat([this.#unread, chunk]);
      this.#wake?.();
    });
    socket.on("error", (error) => {
      this.#failure = error;
    });
    const end = (): void => {
      this.#ended = true;
      this.#wake?.();
    };
    socket.on("end", end);
    socket.on("close", end);
  }

  static async open(host: string, port: number): Promise<Wire> {
    const opened = Promise.withResolvers<undefined>();
    const socket = connect({ host, port, noDelay: true });
    socket.once("connect", () => opened.resolve(undefined));
    socket.once("error", opened.reject);
    await opened.promise;
    socket.off("error", opened.reject);
    return new Wire(socket);
  }

  /** Open, and without bytes that nobody asked for. */
  get usable(): boolean {
    return !this.#ended && this.#unread.length === 0;
  }

  write(bytes: Uint8Array): void {
    this.#socket.write(bytes);
  }

  close(): void {
    this.#socket.destroy();
  }

  /** The next line without its CRLF. */
  async line(): Promise<string> {
    for (;;) {
      const end = this.#unread.indexOf(CRLF);
      if (end >= 0) {
        const line = this.#unread.toString("latin1", 0, end);
        this.#unread = this.#unread.subarray(end + CRLF.length);
        return line;
      }
      await this.#more();
    }
  }

  /** Exactly `count` bytes. */
  async bytes(count: number): Promise<Uint8Array> {
    const parts: Buffer[] = [];
    let missing = count;
    while (missing > 0) {
      if (this.#unread.length === 0) {
        await this.#more();
      }
      const part = this.#unread.subarray(0, missing);
      parts.push(part);
      missing -= part.length;
      this.#unread = this.#unread.subarray(part.length);
    }
    return Buffer.concat(parts);
  }

  /** Everything up to the end of the connection. */
  async rest(): Promise<Uint8Array> {
    while (!this.#ended) {
      await this.#wait();
    }
    const rest = this.#unread;
    this.#unread = Buffer.alloc(0);
    return rest;
  }

  async #more(): Promise<void> {
    const before = this.#unread.length;
    while (this.#unread.length === before) {
      if (this.#ended) {
        throw new Error("the server closed the connection early", { cause: this.#failure });
      }
      await this.#wait();
    }
  }

  async #wait(): Promise<void> {
    const woken = Promise.withResolvers<undefined>();
    this.#wake = () => woken.resolve(undefined);
    await woken.promise;
    this.#wake = undefined;
  }
}
