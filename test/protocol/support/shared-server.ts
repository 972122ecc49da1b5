/** One server for the tests of a file: it starts with the first and stops after the last. */
import { afterAll, beforeAll } from "bun:test";
import { startServer, type ServerOptions, type TestServer } from "../../support/server.ts";
import type { Handle } from "./requests.ts";
import { RawConnection } from "./raw.ts";

export interface SharedServer {
  readonly server: () => TestServer;
  /** Each request on whatever connection the client has at hand, so on either worker. */
  readonly handle: Handle;
  readonly connect: () => Promise<RawConnection>;
}

export function sharedServer(options: ServerOptions & { readonly port: number }): SharedServer {
  let server: TestServer | undefined;
  beforeAll(async () => {
    server = await startServer(options);
  }, 30_000);
  afterAll(async () => server?.stop(), 30_000);
  const running = (): TestServer => {
    if (server === undefined) throw new Error("the server has not started");
    return server;
  };
  return {
    server: running,
    handle: async (path, init) => fetch(running().url + path, init),
    connect: async () => RawConnection.open(running().port),
  };
}
