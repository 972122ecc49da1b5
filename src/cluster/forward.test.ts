import { afterEach, beforeEach, expect, test } from "bun:test";
import { failureOf } from "../blobs/conformance-tools.ts";
import { BlobStoreUnavailable } from "../blobs/port.ts";
import { OciError } from "../oci/errors.ts";
import { forwarder, forwardHandler } from "./forward.ts";
import type { Nodes, NodeState } from "./node.ts";
import { ClusterCertificates, clusterKeys, connectPeers, servePeers } from "./peer/index.ts";

const KEYS = clusterKeys("a secret of no importance, thirty-two bytes and more");
const quiet = (): void => {};
const QUIET = { debug: quiet, info: quiet, warn: quiet, error: quiet, request: quiet };
const UPLOAD = "http://registry.example/v2/some/name/blobs/uploads/one?state=1";
const NOTHING = { length: 0, async *stream() {} };

let held: AsyncDisposableStack;
/** Of the home of the upload, as the others see it. */
let home: NodeState;
let answer: (request: Request) => Promise<Response>;
const { promise: never } = Promise.withResolvers<Response>();

beforeEach(() => {
  held = new AsyncDisposableStack();
  const certificates = new ClusterCertificates({ keys: KEYS, node: "n1", hosts: [] });
  const server = servePeers({
    address: { hostname: "127.0.0.1", port: 0 },
    certificates,
    keys: KEYS,
    handlers: { "/v1/forward": forwardHandler((request) => answer(request)) },
    log: QUIET,
  });
  held.defer(() => server.close(0));
  const address = `127.0.0.1:${server.port}`;
  home = { name: "n1", address, store: "s1", isLive: true, downSince: undefined };
});
afterEach(() => held.disposeAsync());

function forward(body: Parameters<ReturnType<typeof forwarder>>[2], method = "PATCH") {
  const certificates = new ClusterCertificates({ keys: KEYS, node: "n2", hosts: [] });
  const peers = held.use(connectPeers({ certificates, keys: KEYS, self: "n2" }));
  const nodes: Nodes = {
    self: "n2",
    all: () => [home],
    failed: quiet,
    onChange: () => quiet,
  };
  return forwarder({ nodes, peers })("n1", new Request(UPLOAD, { method }), body);
}

test("a request is answered by the home of its upload, which reads the body as it comes", async () => {
  answer = async (request) => {
    const text = await request.text();
    const { pathname, search } = new URL(request.url);
    return new Response(null, {
      status: 202,
      headers: { location: `${request.method} ${pathname}${search} ${text}` },
    });
  };
  const body = {
    length: undefined,
    async *stream() {
      for (const part of ["by ", "and ", "by"]) yield new TextEncoder().encode(part);
    },
  };
  const said = await forward(body);
  expect(said.status).toBe(202);
  expect(said.headers.get("location")).toBe(
    "PATCH /v2/some/name/blobs/uploads/one?state=1 by and by",
  );
});

test("nobody waits for a home that stands still once the others take it for dead", async () => {
  answer = () => never;
  const asked = failureOf(forward(NOTHING, "GET"));
  await Bun.sleep(200);
  home = { ...home, isLive: false, downSince: performance.now() };
  const failure = await Promise.race([asked, Bun.sleep(4500)]);
  expect(failure).toBeInstanceOf(BlobStoreUnavailable);
  expect(String(failure)).toContain("n1");
}, 10_000);

test("a home that failed a request a moment ago is asked; one that is away for longer has lost the upload", async () => {
  answer = async () => new Response(null, { status: 204 });
  home = { ...home, isLive: false, downSince: performance.now() };
  expect((await forward(NOTHING, "GET")).status).toBe(204);
  home = { ...home, downSince: performance.now() - 5000 };
  const failure = await failureOf(forward(NOTHING, "GET"));
  expect(failure).toBeInstanceOf(OciError);
  expect((failure as OciError).code).toBe("BLOB_UPLOAD_UNKNOWN");
});
