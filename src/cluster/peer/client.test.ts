import { expect, test } from "bun:test";
import { chunks, mute, OTHER_SECRET, rejection, SECRET, startNode, tap } from "./peer-fixture.ts";
import { PeerUnavailable } from "./port.ts";

const GET = { method: "GET", timeoutMs: 1000 } as const;

/** The sentence of the `PeerUnavailable` that a call ends with. */
async function unavailable(call: Promise<unknown>): Promise<string> {
  const error = await rejection(call);
  expect(error).toBeInstanceOf(PeerUnavailable);
  return error instanceof Error ? error.message : "";
}

test("a node of another cluster is told as such, from either side", async () => {
  await using node = startNode();
  await using stranger = startNode({ name: "n2", secret: OTHER_SECRET });
  for (const [from, to] of [
    [node, stranger],
    [stranger, node],
  ] as const) {
    const sentence = await unavailable(from.peers.fetch(to.address, "/v1/state", GET));
    expect(sentence).toContain(
      `the node at ${to.address} shows a certificate of another cluster (other cluster.secretFile), or is no Holdfast node`,
    );
    expect(sentence).toContain(from.keys.fingerprint);
  }
});

test("a web server that speaks no TLS is told as no node", async () => {
  using plain = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => new Response("hello") });
  await using node = startNode();
  const call = node.peers.fetch(`127.0.0.1:${plain.port}`, "/v1/state", GET);
  expect(await unavailable(call)).toContain("or is no Holdfast node");
});

test("clocks more than five minutes, and more than a day, apart are told", async () => {
  const at = (minutes: number) => ({ now: () => Date.now() + minutes * 60_000 });
  await using node = startNode();
  await using behind = startNode({ name: "n2", clock: at(-10) });
  expect(await unavailable(behind.peers.fetch(node.address, "/v1/state", GET))).toBe(
    `the node at ${node.address} refuses this node, n2: the clock of node n2 is 600 s behind this node's, ` +
      "and at most 300 s are tolerated: let NTP set the clocks of both",
  );
  await using ahead = startNode({ name: "n3", clock: at(3 * 24 * 60) });
  expect(await unavailable(node.peers.fetch(ahead.address, "/v1/state", GET))).toContain(
    "the clocks of the two nodes are more than a day apart",
  );
});

test("another protocol version is refused with what is spoken", async () => {
  await using node = startNode({ handlers: {} });
  expect(await unavailable(node.peers.fetch(node.address, "/v2/state", GET))).toContain(
    "this node speaks v1 of the peer protocol, and not v2",
  );
});

test("what a handler answers is the result, 401 and 426 included", async () => {
  const handlers = {
    "/v1/s": (_: Request, path: string) => new Response("x", { status: Number(path.slice(1)) }),
  };
  await using node = startNode({ handlers });
  for (const status of [200, 401, 404, 426, 500, 503])
    expect((await node.peers.fetch(node.address, `/v1/s/${status}`, GET)).status).toBe(status);
});

test("a redirection is not followed, and a compressed body is left alone", async () => {
  const zipped = Bun.gzipSync("hello");
  await using node = startNode({
    handlers: {
      "/v1/away": () => Response.redirect("/v1/zip", 302),
      "/v1/zip": () => new Response(zipped, { headers: { "content-encoding": "gzip" } }),
    },
  });
  expect(await rejection(node.peers.fetch(node.address, "/v1/away", GET))).toBeInstanceOf(
    PeerUnavailable,
  );
  const answer = await node.peers.fetch(node.address, "/v1/zip", GET);
  expect(Buffer.from(await answer.arrayBuffer()).equals(Buffer.from(zipped))).toBe(true);
});

test("nobody there, and a name that does not exist, are told apart", async () => {
  await using node = startNode();
  const gone = startNode();
  await gone[Symbol.asyncDispose]();
  expect(await unavailable(node.peers.fetch(gone.address, "/v1/state", GET))).toBe(
    `nothing listens at ${gone.address}: the node is down, or its peer port is another one`,
  );
  expect(
    await unavailable(node.peers.fetch("no-such-host.invalid:5080", "/v1/state", GET)),
  ).toContain("no-such-host.invalid:5080");
});

test("a hung peer is given up after the timeout: in the handshake, before the answer, amid the body", async () => {
  await using silent = await mute();
  await using node = startNode({
    handlers: {
      "/v1/never": () => new Promise<Response>(() => undefined),
      "/v1/deaf": () => new Promise<Response>(() => undefined),
    },
  });
  const timed = async (
    address: string,
    path: string,
    body?: ReadableStream<Uint8Array<ArrayBuffer>>,
  ) => {
    const start = performance.now();
    const request = { method: "PUT", timeoutMs: 300, ...(body ? { body } : {}) } as const;
    const sentence = await unavailable(node.peers.fetch(address, path, request));
    expect(sentence).toBe(`the node at ${address} did not answer PUT ${path} within 300 ms`);
    const took = performance.now() - start;
    expect(took).toBeGreaterThan(290);
    expect(took).toBeLessThan(2000);
  };
  await timed(silent.address, "/v1/state");
  await timed(node.address, "/v1/never");
  await timed(node.address, "/v1/deaf", chunks(100_000));
});

test("the time that a slow source takes is not held against the peer, nor that of the answer's body", async () => {
  await using node = startNode({
    handlers: {
      "/v1/echo": async (request) => {
        const { byteLength } = await request.arrayBuffer();
        const body = chunks(4, () => Bun.sleep(100));
        return new Response(body, { headers: { "x-got": String(byteLength) } });
      },
    },
  });
  const answer = await node.peers.fetch(node.address, "/v1/echo", {
    method: "PUT",
    body: chunks(4, () => Bun.sleep(150)),
    timeoutMs: 250,
  });
  expect(answer.headers.get("x-got")).toBe(String(4 << 16));
  expect((await answer.arrayBuffer()).byteLength).toBe(4 << 16);
});

test("a signal ends a request with its reason, before the answer and amid it", async () => {
  const aborted: string[] = [];
  await using node = startNode({
    handlers: {
      "/v1/never": (request) =>
        new Promise<Response>(() => {
          request.signal.addEventListener("abort", () => aborted.push("never"));
        }),
      "/v1/long": () => new Response(chunks(1000, () => Bun.sleep(20))),
    },
  });
  const control = new AbortController();
  const long = await node.peers.fetch(node.address, "/v1/long", { ...GET, signal: control.signal });
  const waiting = node.peers.fetch(node.address, "/v1/never", { ...GET, signal: control.signal });
  setTimeout(() => control.abort(new Error("enough")), 100);
  expect(await rejection(waiting)).toMatchObject({ message: "enough" });
  expect(await rejection(long.arrayBuffer())).toBeInstanceOf(Error);
  const late = node.peers.fetch(node.address, "/v1/long", { ...GET, signal: control.signal });
  expect(await rejection(late)).toMatchObject({ message: "enough" });
  for (let i = 0; i < 100 && aborted.length === 0; i++) await Bun.sleep(10);
  expect(aborted).toEqual(["never"]);
});

test("connections are kept, and a proxy of the environment is not asked", async () => {
  await using node = startNode({ handlers: { "/v1/state": () => new Response("ok") } });
  await using wire = await tap(node.server.port);
  const script = `
    import { ClusterCertificates, clusterKeys, connectPeers } from ${JSON.stringify(`${import.meta.dir}/index.ts`)};
    const keys = clusterKeys(process.env.SECRET);
    const certificates = new ClusterCertificates({ keys, node: "n2", hosts: [] });
    const peers = connectPeers({ keys, certificates, self: "n2" });
    let ok = 0;
    for (let i = 0; i < 50; i++) {
      const answer = await peers.fetch(${JSON.stringify(wire.address)}, "/v1/state", { method: "GET", timeoutMs: 2000 });
      if ((await answer.text()) === "ok") ok++;
    }
    console.log(ok);
    process.exit(0);`;
  const proxy = "http://127.0.0.1:9";
  const child = Bun.spawn([process.execPath, "-e", script], {
    env: { ...process.env, SECRET, HTTPS_PROXY: proxy, https_proxy: proxy, ALL_PROXY: proxy },
    stdout: "pipe",
    stderr: "inherit",
  });
  expect((await child.stdout.text()).trim()).toBe("50");
  expect(wire.connections).toBe(1);
});
