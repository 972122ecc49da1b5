/** HTTP/1.1 as bytes on a socket: heads, and bodies passed on as they come, framing included. */
import type { Socket } from "node:net";

export interface Head {
  /** Request line or status line. */
  readonly line: string;
  readonly headers: readonly (readonly [name: string, value: string])[];
}

/** Value of a header, names compared in lower case. */
export function header(head: Head, name: string): string | undefined {
  return head.headers.find(([other]) => other.toLowerCase() === name)?.[1];
}

export function without(head: Head, ...names: readonly string[]): Head {
  return {
    line: head.line,
    headers: head.headers.filter(([name]) => !names.includes(name.toLowerCase())),
  };
}

export function encodeHead(head: Head): string {
  return `${head.line}\r\n${head.headers.map(([name, value]) => `${name}: ${value}\r\n`).join("")}\r\n`;
}

/** How long a body is: bytes, chunks, or to the end of the connection. */
export type Framing = number | "chunked" | "close";

export function requestFraming(head: Head): Framing {
  if (/chunked/i.test(header(head, "transfer-encoding") ?? "")) return "chunked";
  return Number(header(head, "content-length") ?? 0);
}

export function answerFraming(head: Head, method: string): Framing {
  const status = statusOf(head);
  if (method === "HEAD" || status < 200 || status === 204 || status === 304) return 0;
  if (/chunked/i.test(header(head, "transfer-encoding") ?? "")) return "chunked";
  const length = header(head, "content-length");
  return length === undefined ? "close" : Number(length);
}

export function statusOf(head: Head): number {
  return Number(head.line.split(" ")[1]);
}

const HEAD_MAX = 65_536;

/** One connection, read when there is somebody to pass it on to. */
export class Wire {
  readonly socket: Socket;
  readonly #chunks: AsyncIterator<Buffer>;
  #rest: Buffer = Buffer.alloc(0);
  closed = false;

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on("error", () => {});
    socket.on("close", () => {
      this.closed = true;
    });
    this.#chunks = socket[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  }

  /** The next head, or `undefined` when the peer has nothing more to say. */
  async head(): Promise<Head | undefined> {
    for (;;) {
      const end = this.#rest.indexOf("\r\n\r\n");
      if (end >= 0) {
        const [line = "", ...lines] = this.#rest.toString("latin1", 0, end).split("\r\n");
        this.#rest = this.#rest.subarray(end + 4);
        const headers = lines.map((text) => {
          const colon = text.indexOf(":");
          return [text.slice(0, colon), text.slice(colon + 1).trim()] as const;
        });
        return { line, headers };
      }
      if (this.#rest.length > HEAD_MAX) throw new Error("a head is too long");
      if (!(await this.#more())) return undefined;
    }
  }

  /** The bytes of a body as they are on the wire. Throws when they end too early. */
  async *body(framing: Framing): AsyncGenerator<Buffer> {
    if (framing === "chunked") yield* this.#chunked();
    else yield* this.#run(framing === "close" ? Infinity : framing, framing !== "close");
  }

  /** Resolves when more may be written. */
  async write(bytes: Buffer | string): Promise<void> {
    if (this.closed) throw new Error("the peer is gone");
    if (this.socket.write(bytes)) return;
    await new Promise<void>((resolve, reject) => {
      const gone = (): void => reject(new Error("the peer is gone"));
      this.socket.once("close", gone);
      this.socket.once("drain", () => {
        this.socket.off("close", gone);
        resolve();
      });
    });
  }

  /** Ends without a goodbye: the peer sees a reset. */
  reset(): void {
    this.socket.resetAndDestroy();
  }

  async *#chunked(): AsyncGenerator<Buffer> {
    for (;;) {
      const line = await this.#line();
      yield line;
      const length = Number.parseInt(line.toString("latin1"), 16);
      if (!(length >= 0)) throw new Error("a chunk has no length");
      if (length > 0) yield* this.#run(length, true);
      const end = await this.#line();
      yield end;
      // Trailers end with an empty line, as the body does.
      if (length === 0) {
        for (let trailer = end; trailer.length > 2; yield trailer) trailer = await this.#line();
        return;
      }
    }
  }

  async *#run(length: number, whole: boolean): AsyncGenerator<Buffer> {
    for (let left = length; left > 0;) {
      if (this.#rest.length === 0 && !(await this.#more())) {
        if (whole) throw new Error("a body ended too early");
        return;
      }
      const chunk = this.#rest.subarray(0, left);
      this.#rest = this.#rest.subarray(chunk.length);
      left -= chunk.length;
      yield chunk;
    }
  }

  async #line(): Promise<Buffer> {
    for (;;) {
      const end = this.#rest.indexOf("\r\n");
      if (end >= 0) {
        const line = this.#rest.subarray(0, end + 2);
        this.#rest = this.#rest.subarray(end + 2);
        return line;
      }
      if (!(await this.#more())) throw new Error("a body ended too early");
    }
  }

  async #more(): Promise<boolean> {
    const next = await this.#chunks.next().catch(() => ({ done: true, value: undefined }));
    if (next.done === true || next.value === undefined) return false;
    this.#rest = this.#rest.length === 0 ? next.value : Buffer.concat([this.#rest, next.value]);
    return true;
  }
}
