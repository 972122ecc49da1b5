/** What the tests of the peer port share: clusters of one process, and sockets that see what goes by. */
import { connect, createServer, type Server, type Socket } from "node:net";
import type { Clock } from "../../base/clock.ts";
import type { Fields, Logger } from "../../base/log.ts";
import { ClusterCertificates } from "./certificates.ts";
import { connectPeers } from "./client.ts";
import type { Peers } from "./port.ts";
import { clusterKeys, type ClusterKeys } from "./secret.ts";
import { servePeers, type PeerHandlers, type PeerServer } from "./server.ts";

export const SECRET = "4d1f3a9b0c7e58266d1f3a9b0c7e5826";
export const OTHER_SECRET = "ffeeddccbbaa99887766554433221100";
export const HOST = "127.0.0.1";

export interface TestNode extends AsyncDisposable {
  readonly keys: ClusterKeys;
  readonly certificates: ClusterCertificates;
  readonly server: PeerServer;
  readonly address: string;
  readonly peers: Peers;
  readonly errors: string[];
}

export interface TestNodeOptions {
  readonly name?: string;
  readonly secret?: string;
  readonly handlers?: PeerHandlers;
  readonly clock?: Clock;
}

/** A node that listens on a port of the system's choice, and can ask others. */
export function startNode(options: TestNodeOptions = {}): TestNode {
  const { name = "n1", secret = SECRET, handlers, clock } = options;
  const keys = clusterKeys(secret);
  const common = { keys, ...(clock ? { clock } : {}) };
  const certificates = new ClusterCertificates({ ...common, node: name, hosts: [HOST] });
  const errors: string[] = [];
  const server = servePeers({
    ...common,
    address: { hostname: HOST, port: 0 },
    certificates,
    log: collecting(errors),
    ...(handlers ? { handlers } : {}),
  });
  const peers = connectPeers({ ...common, certificates, self: name });
  return {
    keys,
    certificates,
    server,
    address: `${HOST}:${server.port}`,
    peers,
    errors,
    async [Symbol.asyncDispose]() {
      peers[Symbol.dispose]();
      certificates[Symbol.dispose]();
      await server.close(0);
    },
  };
}

/** What a call is rejected with. */
export async function rejection(call: Promise<unknown>): Promise<unknown> {
  try {
    await call;
  } catch (error) {
    return error;
  }
  throw new Error("the call was to fail");
}

export interface Tap extends AsyncDisposable {
  readonly address: string;
  /** All bytes that went by, in both directions. */
  recorded(): Buffer;
  /** Connections that were made. */
  readonly connections: number;
  /** Resets all connections. */
  cut(): void;
}

/** Forwards TCP connections to `port`, and keeps what goes by. */
export async function tap(port: number): Promise<Tap> {
  const chunks: Buffer[] = [];
  const open = new Set<Socket>();
  let connections = 0;
  const listener = createServer((near) => {
    connections++;
    const far = connect(port, HOST);
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      open.add(from);
      from.on("data", (chunk: Buffer) => {
        chunks.push(chunk);
        if (!to.write(chunk)) from.pause();
      });
      to.on("drain", () => from.resume());
      from.on("end", () => to.end());
      from.on("error", () => to.destroy());
      from.on("close", () => {
        open.delete(from);
        to.destroy();
      });
    }
  });
  const cut = (): void => open.forEach((socket) => socket.resetAndDestroy());
  return {
    address: `${HOST}:${await listening(listener)}`,
    recorded: () => Buffer.concat(chunks),
    get connections() {
      return connections;
    },
    cut,
    async [Symbol.asyncDispose]() {
      cut();
      await closed(listener);
    },
  };
}

/** Accepts connections and says nothing. */
export async function mute(): Promise<{ readonly address: string } & AsyncDisposable> {
  const open = new Set<Socket>();
  const listener = createServer((socket) => {
    open.add(socket);
    socket.on("error", () => undefined);
    socket.resume();
  });
  return {
    address: `${HOST}:${await listening(listener)}`,
    async [Symbol.asyncDispose]() {
      open.forEach((socket) => socket.destroy());
      await closed(listener);
    },
  };
}

/** `count` chunks of 64 KiB, made as they are asked for; `onChunk` hears of each. */
export function chunks(
  count: number,
  onChunk: (index: number) => Promise<void> | void = () => undefined,
): ReadableStream<Uint8Array<ArrayBuffer>> {
  let index = 0;
  return new ReadableStream(
    {
      async pull(controller) {
        if (index === count) return controller.close();
        await onChunk(index++);
        controller.enqueue(new Uint8Array(CHUNK).fill(index));
      },
    },
    { highWaterMark: 0 },
  );
}

export const CHUNK: number = 64 << 10;

function listening(server: Server): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, HOST, () => {
      const bound = server.address();
      if (typeof bound === "object" && bound) resolve(bound.port);
    });
  });
}

function closed(server: Server): Promise<void> {
  return new Promise((resolve) => server.close(() => resolve()));
}

function collecting(errors: string[]): Logger {
  const nothing = (): void => undefined;
  return {
    debug: nothing,
    info: nothing,
    warn: nothing,
    error: (message: string, fields?: Fields) =>
      void errors.push(`${message} ${JSON.stringify(fields)}`),
    request: nothing,
  };
}
