/** A TCP proxy before a plain-HTTP server that loses requests and answers, as networks do. */
import type { Socket } from "bun";

/**
 * `pass`; `refuse`: cut before the server sees it; `swallow`: the server gets it, the client is cut when the answer
 * comes; `hold`: the client is cut, and the server gets it only at `release`; `freeze`: nothing is cut, and nothing
 * ever comes back.
 */
export type Fate = "pass" | "refuse" | "swallow" | "hold" | "freeze";

export interface TestProxy extends Disposable {
  readonly endpoint: string;
  /** Decides on each request, of which it sees the whole text. */
  fate: (request: string) => Fate;
  /** Sends what is held and resolves when the server has answered all of it, with the answers. */
  release(): Promise<string[]>;
  /** Cuts what is open. */
  cut(): void;
  /** From now on everything open is left hanging. */
  freezeAll(): void;
}

export function startProxy(target: string): TestProxy {
  const to = new URL(target);
  const links = new Set<Link>();
  const held: string[] = [];
  const listener = Bun.listen<Link>({
    hostname: "127.0.0.1",
    port: 0,
    socket: {
      async open(client) {
        client.data = new Link(client, (request) => {
          const fate = proxy.fate(request);
          if (fate === "hold") held.push(request);
          return fate;
        });
        links.add(client.data);
        await client.data.connect(to).catch(() => client.terminate());
      },
      data: (client, bytes) => client.data.fromClient(bytes),
      drain: (client) => client.data.flush(),
      close(client) {
        links.delete(client.data);
        client.data?.close();
      },
    },
  });
  const proxy: TestProxy = {
    endpoint: `http://127.0.0.1:${listener.port}`,
    fate: () => "pass",
    async release() {
      return Promise.all(held.splice(0).map((request) => exchange(to, request)));
    },
    cut() {
      for (const link of links) link.close();
    },
    freezeAll() {
      for (const link of links) link.frozen = true;
    },
    [Symbol.dispose]() {
      listener.stop(true);
      for (const link of links) link.close();
    },
  };
  return proxy;
}

class Link {
  frozen = false;
  readonly #client: Socket<Link>;
  readonly #judge: (request: string) => Fate;
  #server: Socket | undefined;
  #request = Buffer.alloc(0);
  readonly #toServer: Buffer[] = [];
  readonly #toClient: Buffer[] = [];
  #swallow = false;

  constructor(client: Socket<Link>, judge: (request: string) => Fate) {
    this.#client = client;
    this.#judge = judge;
  }

  async connect(to: URL): Promise<void> {
    this.#server = await Bun.connect({
      hostname: to.hostname,
      port: Number(to.port),
      socket: {
        data: (_, bytes) => this.#fromServer(bytes),
        drain: () => this.flush(),
        close: () => void this.#client.end(),
      },
    });
    this.flush();
  }

  fromClient(bytes: Uint8Array): void {
    if (this.frozen) return;
    this.#request = Buffer.concat([this.#request, bytes]);
    const head = this.#request.indexOf("\r\n\r\n");
    if (head < 0) return;
    const text = this.#request.toString("latin1");
    const length = Number(/^content-length: (\d+)/im.exec(text.slice(0, head))?.[1] ?? 0);
    if (this.#request.length < head + 4 + length) return;
    const fate = this.#judge(text);
    const whole = this.#request;
    this.#request = Buffer.alloc(0);
    if (fate === "refuse" || fate === "hold") return this.close();
    if (fate === "freeze") {
      this.frozen = true;
      return;
    }
    this.#swallow = fate === "swallow";
    this.#toServer.push(whole);
    this.flush();
  }

  flush(): void {
    if (this.#server !== undefined) write(this.#server, this.#toServer);
    write(this.#client, this.#toClient);
  }

  close(): void {
    this.#client.terminate();
    this.#server?.terminate();
  }

  #fromServer(bytes: Uint8Array): void {
    if (this.frozen) return;
    if (this.#swallow) return this.close();
    this.#toClient.push(Buffer.from(bytes));
    this.flush();
  }
}

function write(socket: Socket<Link> | Socket, queue: Buffer[]): void {
  for (let first = queue.shift(); first !== undefined; first = queue.shift()) {
    const written = socket.write(first);
    if (written >= first.length) continue;
    queue.unshift(first.subarray(Math.max(0, written)));
    return;
  }
}

/** The server's answer to a request that nobody waits for. */
async function exchange(to: URL, request: string): Promise<string> {
  const [head = "", body = ""] = request.split("\r\n\r\n");
  const path = head.split(" ")[1] ?? "/";
  const response = await fetch(new URL(path, to), { method: "POST", body });
  return response.text();
}
