import { connect as connectTcp } from "node:net";
import { connect as connectTls } from "node:tls";
import { expect, test } from "bun:test";
import { ClusterCertificates } from "./certificates.ts";
import { chunks, HOST, OTHER_SECRET, rejection, SECRET, startNode } from "./peer-fixture.ts";
import { clusterKeys } from "./secret.ts";
import { servePeers } from "./server.ts";
import { signToken, TOKEN_HEADER } from "./token.ts";

const state = { "/v1/state": () => Response.json({ alive: true }) };
const keys = clusterKeys(SECRET);

/** A GET with exactly these credentials: nothing of the client of ours. */
function raw(
  address: string,
  tls: { ca: string; cert?: string; key?: string },
  headers: Record<string, string> = {},
  path = "/v1/state",
): Promise<Response> {
  const options = { tls: { ...tls, serverName: "holdfast-peer" }, headers, keepalive: false };
  return fetch(`https://${address}${path}`, options);
}

test("without a certificate, or with one of another secret, nothing is answered", async () => {
  await using node = startNode({ handlers: state });
  const { ca, cert, key } = node.certificates.current();
  const headers = { [TOKEN_HEADER]: signToken(keys, "n2", Date.now()) };
  using stranger = new ClusterCertificates({
    keys: clusterKeys(OTHER_SECRET),
    node: "n2",
    hosts: [],
  });
  expect(await rejection(raw(node.address, { ca }, headers))).toBeInstanceOf(Error);
  const other = { ...stranger.current(), ca };
  expect(await rejection(raw(node.address, other, headers))).toBeInstanceOf(Error);
  const own = await raw(node.address, { ca, cert, key }, headers);
  expect([own.status, await own.json()]).toEqual([200, { alive: true }]);
});

test("with a certificate but no right token, every path is 401 with the reason", async () => {
  await using node = startNode({ handlers: state });
  const tls = node.certificates.current();
  const other = signToken(clusterKeys(OTHER_SECRET), "n2", Date.now());
  const late = signToken(keys, "n2", Date.now() - 400_000);
  for (const [token, reason] of [
    [undefined, "has no header holdfast-node-token"],
    ["n2.1.2.3", "was not signed with this cluster's secret"],
    [other, "was not signed with this cluster's secret"],
    [late, "the clock of node n2 is 400 s behind this node's"],
  ] as const)
    for (const path of ["/v1/state", "/v2/state", "/", "/nothing"]) {
      const answer = await raw(node.address, tls, token ? { [TOKEN_HEADER]: token } : {}, path);
      expect(answer.status).toBe(401);
      expect(await answer.json()).toEqual({ error: expect.stringContaining(reason) });
    }
  const right = { [TOKEN_HEADER]: signToken(keys, "n2", Date.now()) };
  expect((await raw(node.address, tls, right)).status).toBe(200);
});

test("plain HTTP gets no answer", async () => {
  await using node = startNode({ handlers: state });
  const token = signToken(keys, "n2", Date.now());
  const got = await new Promise<number>((resolve) => {
    let bytes = Buffer.alloc(0);
    const socket = connectTcp(node.server.port, HOST, () =>
      socket.write(`GET /v1/state HTTP/1.1\r\nHost: x\r\n${TOKEN_HEADER}: ${token}\r\n\r\n`),
    );
    socket.on("data", (chunk: Buffer) => (bytes = Buffer.concat([bytes, chunk])));
    socket.on("error", () => undefined);
    socket.on("close", () => resolve(bytes.includes("HTTP/") ? 1 : 0));
  });
  expect(got).toBe(0);
  expect(
    (await node.peers.fetch(node.address, "/v1/state", { method: "GET", timeoutMs: 1000 })).status,
  ).toBe(200);
});

test("handlers are found by the longest prefix, and told the rest of the path and who asks", async () => {
  const seen: unknown[] = [];
  const note =
    (name: string) =>
    (request: Request, path: string, caller: { node: string }): Response => {
      seen.push([name, path, new URL(request.url).search, caller.node]);
      return new Response(null, { status: 204 });
    };
  await using node = startNode({
    name: "n7",
    handlers: {
      "/v1/blobs/": note("blobs"),
      "/v1/blobs/many": note("many"),
      "/v1/state": note("state"),
    },
  });
  const status = async (path: string): Promise<number> =>
    (await node.peers.fetch(node.address, path, { method: "GET", timeoutMs: 1000 })).status;
  for (const path of [
    "/v1/blobs/sha256/ab/cd.12?from=5",
    "/v1/blobs/many",
    "/v1/state?x",
    "/v1/state/deep",
  ])
    expect(await status(path)).toBe(204);
  expect(seen).toEqual([
    ["blobs", "sha256/ab/cd.12", "?from=5", "n7"],
    ["many", "", "", "n7"],
    ["state", "", "?x", "n7"],
    ["state", "/deep", "", "n7"],
  ]);
  for (const path of ["/v1/stately", "/v1/blobs", "/v1/other", "/state"])
    expect(await status(path)).toBe(404);
});

test("until handlers are set a caller is told to come again", async () => {
  await using node = startNode();
  const ask = (): Promise<Response> =>
    node.peers.fetch(node.address, "/v1/state", { method: "GET", timeoutMs: 1000 });
  const early = await ask();
  expect([early.status, early.headers.get("retry-after")]).toEqual([503, "1"]);
  expect(await early.json()).toEqual({ error: "this node is still starting" });
  node.server.setHandlers(state);
  expect((await ask()).status).toBe(200);
});

test("what a handler throws is 500 with the reason, and in the log", async () => {
  const broken = (): never => {
    throw new Error("the disk is on fire");
  };
  await using node = startNode({ handlers: { "/v1/a": broken, "/v1/b": async () => broken() } });
  for (const path of ["/v1/a", "/v1/b"]) {
    const answer = await node.peers.fetch(node.address, path, { method: "GET", timeoutMs: 1000 });
    expect([answer.status, await answer.json()]).toEqual([500, { error: "the disk is on fire" }]);
  }
  expect(node.errors).toHaveLength(2);
  expect(node.errors[0]).toContain("GET /v1/a of node n1");
});

test("a port is not shared with a second instance", async () => {
  await using node = startNode({ handlers: state });
  const { certificates, server } = node;
  const again = (): unknown =>
    servePeers({
      address: { hostname: HOST, port: server.port },
      certificates,
      keys,
      log: { debug() {}, info() {}, warn() {}, error() {}, request() {} },
    });
  expect(again).toThrow(expect.objectContaining({ code: "EADDRINUSE" }));
});

/** Serial number of the certificate that a new connection is shown. */
function shownSerial(
  port: number,
  tls: { ca: string; cert: string; key: string },
): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connectTls({ ...tls, port, host: HOST, servername: "holdfast-peer" }, () => {
      resolve(socket.getPeerCertificate().serialNumber);
      socket.destroy();
    });
    socket.on("error", reject);
  });
}

test("certificates are renewed under load without losing a request", async () => {
  await using node = startNode({
    handlers: {
      ...state,
      "/v1/sink": async (request) => {
        let bytes = 0;
        for await (const chunk of request.body ?? []) bytes += chunk.byteLength;
        return new Response(String(bytes));
      },
    },
  });
  const load = { isOn: true };
  const failures: unknown[] = [];
  const repeat = async (once: () => Promise<void>): Promise<number> => {
    let count = 0;
    for (; load.isOn; count++) await once().catch((error: unknown) => failures.push(error));
    return count;
  };
  const small = async (): Promise<void> => {
    const answer = await node.peers.fetch(node.address, "/v1/state", {
      method: "GET",
      timeoutMs: 5000,
    });
    expect(await answer.json()).toEqual({ alive: true });
  };
  const large = async (): Promise<void> => {
    const body = chunks(20, () => Bun.sleep(5));
    const answer = await node.peers.fetch(node.address, "/v1/sink", {
      method: "PUT",
      body,
      timeoutMs: 5000,
    });
    expect(await answer.text()).toBe(String(20 << 16));
  };
  const clients = [small, small, small, large, large].map(repeat);
  const seen = new Set<string>();
  for (let round = 0; round < 3; round++) {
    seen.add(await shownSerial(node.server.port, node.certificates.current()));
    await Bun.sleep(200);
    node.certificates.renew();
    await Bun.sleep(1300);
  }
  seen.add(await shownSerial(node.server.port, node.certificates.current()));
  load.isOn = false;
  const counts = await Promise.all(clients);
  expect(failures).toEqual([]);
  expect(seen.size).toBe(4);
  expect(Math.min(...counts)).toBeGreaterThan(10);
}, 20_000);
