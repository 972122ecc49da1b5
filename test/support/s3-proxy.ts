/** A TCP proxy before an S3 server that counts requests, cuts connections and slows them down. */
import net from "node:net";

/** What becomes of a request: `lose` lets it through and drops the answer, `cut` drops it, a text is its answer. */
export type Fate =
  | "pass"
  | "lose"
  | "cut"
  | { readonly answer: string }
  | { readonly bytes: number };

export interface S3Proxy extends Disposable {
  readonly endpoint: string;
  /** `METHOD path?query` of every request since the last `clear`. */
  readonly requests: readonly string[];
  clear(): void;
  /** Decides on each request, given as in `requests`. */
  judge: (request: string) => Fate;
  /** How many pieces of bodies to change on their way to the server. */
  corrupt: number;
  /** Bytes a second from clients to the server; `Infinity` at first. */
  rate: number;
}

const REQUEST = /^(GET|HEAD|PUT|POST|DELETE) (\S+) HTTP\/1\.1\r\n/;

export async function startS3Proxy(target: string): Promise<S3Proxy> {
  const requests: string[] = [];
  const { hostname, port } = new URL(target);
  const server = net.createServer((client) => {
    const upstream = net.connect(Number(port), hostname);
    /** Bytes of answers that still go through; none ends the connection. */
    let left = Infinity;
    const end = (): void => {
      client.destroy();
      upstream.destroy();
    };
    client.on("error", end).on("close", end);
    upstream.on("error", end).on("close", end);
    client.on("data", (data: Buffer) => {
      const [, method, path] = REQUEST.exec(data.subarray(0, 4096).toString("latin1")) ?? [];
      if (method !== undefined && path !== undefined) {
        const request = `${method} ${path}`;
        requests.push(request);
        const fate = proxy.judge(request);
        if (fate === "cut") return end();
        if (typeof fate === "object" && "answer" in fate) return void client.end(fate.answer);
        left = fate === "lose" ? 0 : typeof fate === "object" ? fate.bytes : Infinity;
      }
      if (method === undefined && proxy.corrupt > 0) {
        proxy.corrupt--;
        data[data.byteLength - 1] = (data.at(-1) ?? 0) ^ 1;
      }
      const wait = (data.byteLength / proxy.rate) * 1000;
      const room = upstream.write(data);
      if (room && wait < 1) return;
      client.pause();
      if (!room) upstream.once("drain", () => setTimeout(() => client.resume(), wait));
      else setTimeout(() => client.resume(), wait);
    });
    upstream.on("data", (data: Buffer) => {
      const through = data.subarray(0, left);
      left -= data.byteLength;
      if (left < 0) {
        if (through.byteLength === 0) return end();
        client.write(through, end);
        return;
      }
      if (client.write(through)) return;
      upstream.pause();
      client.once("drain", () => upstream.resume());
    });
  });
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  const address = server.address() as net.AddressInfo;
  const proxy: S3Proxy = {
    endpoint: `http://127.0.0.1:${address.port}`,
    requests,
    clear: () => void requests.splice(0),
    judge: () => "pass",
    rate: Infinity,
    corrupt: 0,
    [Symbol.dispose]: () => void server.close(),
  };
  return proxy;
}

/** An S3 refusal as it goes over the wire. */
export function s3Error(status: number, code: string, headers = ""): { readonly answer: string } {
  const body = `<?xml version="1.0"?><Error><Code>${code}</Code><Message>as the test wants it</Message></Error>`;
  return {
    answer: `HTTP/1.1 ${status} X\r\nContent-Length: ${body.length}\r\nConnection: close\r\n${headers}\r\n${body}`,
  };
}
