/** What stands before several nodes: each connection goes to one that says it is ready. */
import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { randomOf } from "./random.ts";

export interface Target {
  readonly url: string;
  readonly port: number;
}

export interface Balancer extends AsyncDisposable {
  readonly url: string;
  /** `127.0.0.1:PORT`. */
  readonly host: string;
  /** Connections carried so far, by port of the node. */
  readonly carried: ReadonlyMap<number, number>;
}

const CHECK_MS = 100;

/**
 * `targets` is asked again and again. A connection goes to a node whose latest `/readyz` was good, or, when that one
 * does not accept it, to the next; two in a row never go to the same node while there is another.
 */
export async function startBalancer(targets: () => readonly Target[], seed = 1): Promise<Balancer> {
  const random = randomOf(seed);
  const ready = new Set<number>();
  const carried = new Map<number, number>();
  const sockets = new Set<Socket>();
  let deck: Target[] = [];
  let last = 0;

  const deal = (): Target[] => {
    const known = targets();
    const good = known.filter(({ port }) => ready.has(port));
    const usable = good.length > 0 ? good : known;
    deck = deck.filter((one) => usable.includes(one));
    if (deck.length === 0) deck = random.shuffled(usable);
    if (deck[0]?.port === last && usable.length > 1) {
      deck.push(...deck.splice(0, 1));
      if (deck[0]?.port === last) deck = random.shuffled(usable.filter((u) => u.port !== last));
    }
    const [first, ...rest] = deck;
    deck = rest;
    last = first?.port ?? 0;
    return [...new Set([...(first ? [first] : []), ...random.shuffled(usable)])];
  };

  const keep = (socket: Socket): void => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => void sockets.delete(socket));
  };

  const carry = (client: Socket, [first, ...others]: readonly Target[]): void => {
    if (first === undefined) return void client.destroy();
    const upstream = connect(first.port, "127.0.0.1");
    let connected = false;
    keep(upstream);
    upstream.on("connect", () => {
      connected = true;
      carried.set(first.port, (carried.get(first.port) ?? 0) + 1);
      client.on("close", () => upstream.destroy());
      client.pipe(upstream);
      upstream.pipe(client);
    });
    upstream.on("close", (hadError) => {
      if (!connected) carry(client, others);
      // After an orderly end the client still has to get what was piped.
      else if (hadError) client.destroy();
    });
  };

  const server = createServer((client) => {
    keep(client);
    carry(client, deal());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;

  const asked = new Set<number>();
  const check = async (target: Target): Promise<void> => {
    if (asked.has(target.port)) return;
    asked.add(target.port);
    if (await isReady(target)) ready.add(target.port);
    else ready.delete(target.port);
    asked.delete(target.port);
  };
  await Promise.all(targets().map(check));
  const timer = setInterval(() => {
    for (const target of targets()) void check(target);
  }, CHECK_MS);

  return {
    url: `http://127.0.0.1:${port}`,
    host: `127.0.0.1:${port}`,
    carried,
    async [Symbol.asyncDispose]() {
      clearInterval(timer);
      for (const socket of sockets) socket.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

async function isReady({ url }: Target): Promise<boolean> {
  try {
    const answer = await fetch(`${url}/readyz`, {
      headers: { connection: "close" },
      signal: AbortSignal.timeout(2000),
    });
    return answer.ok;
  } catch {
    return false;
  }
}
