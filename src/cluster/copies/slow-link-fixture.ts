/** A link to a peer port that lets only so many bytes through. */
import net from "node:net";

export interface SlowLink extends AsyncDisposable {
  readonly address: string;
  /** Bytes that it has let through towards the peer, and from it. */
  readonly sent: number;
  readonly received: number;
  /** Lets nothing through any more, and keeps all connections. */
  freeze(): void;
}

/** `rate` in bytes a second, either way. */
export async function slowLink(target: string, rate: number): Promise<SlowLink> {
  const [hostname = "", port = ""] = target.split(":");
  const counted = { sent: 0, received: 0 };
  const sockets = new Set<net.Socket>();
  let isFrozen = false;
  const pipe = (from: net.Socket, to: net.Socket, count: (bytes: number) => void): void => {
    sockets.add(from);
    from.on("data", (bytes: Buffer) => {
      count(bytes.byteLength);
      from.pause();
      const taken = new Promise((resolve) => to.write(bytes, resolve));
      const due = Bun.sleep((bytes.byteLength / rate) * 1000);
      void Promise.all([taken, due]).then(() => isFrozen || from.resume());
    });
    from.on("close", () => to.destroy());
    from.on("error", () => to.destroy());
  };
  const server = net.createServer((near) => {
    const far = net.connect(Number(port), hostname);
    pipe(near, far, (bytes) => (counted.sent += bytes));
    pipe(far, near, (bytes) => (counted.received += bytes));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  return {
    address: `127.0.0.1:${address.port}`,
    get sent() {
      return counted.sent;
    },
    get received() {
      return counted.received;
    },
    freeze() {
      isFrozen = true;
      for (const socket of sockets) socket.pause();
    },
    async [Symbol.asyncDispose]() {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}
