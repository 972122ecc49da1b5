import { connect, createServer, type Socket } from "node:net";

/** A TCP relay in front of the registry. It shows which requests a client really made. */
export interface Wire extends AsyncDisposable {
  /** `127.0.0.1:PORT`, to be named instead of the registry. */
  readonly host: string;
  /** Request lines and `range` headers in order, as in `GET /v2/a/blobs/sha256:… bytes=5-`. */
  readonly requests: readonly string[];
  /** How many connections were cut. */
  readonly cuts: number;
}

export interface WireOptions {
  /** Cuts a connection once it has carried this many bytes to the client. */
  readonly cutAfter?: number;
  /** How many connections are cut; after that all pass. */
  readonly cuts?: number;
}

// Only the text of plain HTTP/1.1 heads is looked at: a body that holds such a line would be listed too.
const requestHead =
  /^(GET|HEAD|POST|PUT|PATCH|DELETE) (\/v2\/\S*) HTTP\/1\.1\r\n([\s\S]*?)\r\n\r\n/gm;
const rangeLine = /^range: *(.*)$/im;

export async function openWire(
  target: string,
  { cutAfter = Infinity, cuts = Infinity }: WireOptions = {},
): Promise<Wire> {
  const [hostname = "", port = ""] = target.split(":");
  const sockets = new Set<Socket>();
  const requests: string[] = [];
  let done = 0;

  const server = createServer((client) => {
    const upstream = connect(Number(port), hostname);
    let carried = 0;
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => {
        sockets.delete(socket);
        client.destroy();
        upstream.destroy();
      });
    }
    client.on("data", (chunk: Buffer) => {
      for (const [, method, path, head = ""] of chunk.toString("latin1").matchAll(requestHead)) {
        const range = rangeLine.exec(head)?.[1]?.trim();
        requests.push([method, path, ...(range === undefined ? [] : [range])].join(" "));
      }
    });
    upstream.on("data", (chunk: Buffer) => {
      carried += chunk.length;
      if (carried > cutAfter && done < cuts) {
        done += 1;
        client.destroy();
      }
    });
    client.pipe(upstream);
    upstream.pipe(client);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the relay has no port");

  return {
    host: `127.0.0.1:${address.port}`,
    requests,
    get cuts() {
      return done;
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}
