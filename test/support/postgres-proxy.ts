/** A TCP proxy before a PostgreSQL server that loses questions and answers, as networks do. */
import type { Socket } from "bun";

/**
 * What happens to the next thing that a client says. `pass`; `refuse`: cut before the server sees it; `blind`: the
 * server gets it and both are cut at once; `swallow`: the server gets it, and both are cut when it answers; `hold`:
 * the client is cut, and the server gets it only at `release`; `freeze`: nothing is cut, and nothing comes back.
 */
export type Fate = "pass" | "refuse" | "blind" | "swallow" | "hold" | "freeze";

export interface TestProxy extends Disposable {
  readonly port: number;
  /** Decides on each piece that a client sends. */
  fate: (said: Buffer) => Fate;
  /** Sends what is held, and resolves with what the server says to it once it has ended those connections. */
  release(): Promise<string[]>;
}

export function startProxy(port: number): TestProxy {
  const links = new Set<Link>();
  const listener = Bun.listen<Link>({
    hostname: "127.0.0.1",
    port: 0,
    socket: {
      async open(client) {
        client.data = new Link(client, (said) => proxy.fate(said));
        links.add(client.data);
        await client.data.connect(port);
      },
      data: (client, bytes) => client.data.fromClient(Buffer.from(bytes)),
      close(client) {
        client.data.clientGone();
        if (client.data.held === undefined) links.delete(client.data);
      },
      error() {},
    },
  });
  const proxy: TestProxy = {
    port: listener.port,
    fate: () => "pass",
    async release() {
      const held = [...links].filter((link) => link.held !== undefined);
      for (const link of held) links.delete(link);
      return Promise.all(held.map((link) => link.release()));
    },
    [Symbol.dispose]() {
      listener.stop(true);
      for (const link of links) link.cut();
    },
  };
  return proxy;
}

class Link {
  readonly #client: Socket<Link>;
  readonly #fate: (said: Buffer) => Fate;
  readonly #early: Buffer[] = [];
  readonly #answers: string[] = [];
  readonly #ended = Promise.withResolvers<void>();
  #server: Socket | undefined;
  #state: Fate = "pass";
  held: Buffer | undefined;

  constructor(client: Socket<Link>, fate: (said: Buffer) => Fate) {
    this.#client = client;
    this.#fate = fate;
  }

  async connect(port: number): Promise<void> {
    try {
      this.#server = await Bun.connect({
        hostname: "127.0.0.1",
        port,
        socket: {
          data: (_, bytes) => this.#fromServer(Buffer.from(bytes)),
          close: () => {
            this.#ended.resolve();
            this.#client.end();
          },
          error() {},
        },
      });
      for (const bytes of this.#early.splice(0)) this.fromClient(bytes);
    } catch {
      this.#client.terminate();
    }
  }

  fromClient(bytes: Buffer): void {
    if (this.#state !== "pass") return;
    if (this.#server === undefined) {
      this.#early.push(bytes);
      return;
    }
    this.#state = this.#fate(bytes);
    if (this.#state === "hold") this.held = bytes;
    else if (this.#state !== "refuse") this.#server.write(bytes);
    if (this.#state === "refuse") this.cut();
    if (this.#state === "blind") {
      this.#server.end();
      this.#client.terminate();
    }
    if (this.#state === "hold") this.#client.terminate();
  }

  /** A client that ends takes its connection along, unless what it said is still to come. */
  clientGone(): void {
    if (this.held === undefined) this.#server?.end();
  }

  async release(): Promise<string> {
    this.#server?.write(this.held ?? Buffer.alloc(0));
    // Terminate: the server ends the connection when it has done what came before.
    this.#server?.write(Buffer.from([0x58, 0, 0, 0, 4]));
    await this.#ended.promise;
    return this.#answers.join("");
  }

  cut(): void {
    this.#server?.terminate();
    this.#client.terminate();
  }

  #fromServer(bytes: Buffer): void {
    if (this.#state === "pass") this.#client.write(bytes);
    else if (this.#state === "swallow") this.cut();
    else if (this.#state === "hold") this.#answers.push(bytes.toString("latin1"));
  }
}
