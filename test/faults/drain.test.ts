import { expect, test } from "bun:test";
import { randomBytes } from "node:crypto";
import { openUpload, pullBlob, pushBlob, sha256, withDigest } from "../support/blob.ts";
import { signal } from "../support/processes.ts";
import { RawConnection } from "../support/raw.ts";
import { startServer, type TestServer } from "../support/server.ts";

/** After this the workers no longer accept connections. */
const FAREWELL_PASSED_MS = 1500;

function terminate(server: TestServer): void {
  signal(server.pid, "SIGTERM");
}

test("an upload under way is finished, and is there after a restart", async () => {
  await using server = await startServer();
  const bytes = new Uint8Array(randomBytes(4_000_000));
  const path = withDigest(await openUpload(server.url, "a"), sha256(bytes));
  using connection = await RawConnection.open(server.port);
  connection.request("PUT", path, { "Content-Length": bytes.length });
  connection.send(bytes.subarray(0, 1_000_000));
  await Bun.sleep(100);
  terminate(server);
  await Bun.sleep(FAREWELL_PASSED_MS);
  connection.send(bytes.subarray(1_000_000));
  expect((await connection.answer()).status).toBe(201);
  expect(await server.exited).toBe(0);

  await using again = await startServer({ data: server.data });
  expect(sha256(await pullBlob(again.url, "a", sha256(bytes)))).toBe(sha256(bytes));
});

test("a download under way is finished", async () => {
  await using server = await startServer();
  // More than the sockets' buffers hold.
  const bytes = new Uint8Array(randomBytes(64_000_000));
  const digest = await pushBlob(server.url, "a", bytes);
  using connection = await RawConnection.open(server.port);
  connection.request("GET", `/v2/a/blobs/${digest}`);
  await Bun.sleep(100);
  connection.pause();
  terminate(server);
  await Bun.sleep(FAREWELL_PASSED_MS);
  connection.resume();
  const { status, body } = await connection.answer();
  expect(status).toBe(200);
  expect(sha256(body)).toBe(digest);
  expect(await server.exited).toBe(0);
});

test("kept-alive connections are told to close; not one of their requests fails", async () => {
  await using server = await startServer();
  let served = 0;
  const clients = Array.from({ length: 8 }, async () => {
    using connection = await RawConnection.open(server.port);
    for (;;) {
      connection.request("GET", "/v2/");
      const { status, head } = await connection.answer();
      expect(status).toBe(200);
      served++;
      if (/^connection: close/im.test(head)) return connection.closed();
    }
  });
  await Bun.sleep(200);
  terminate(server);
  await Promise.all(clients);
  expect(served).toBeGreaterThan(100);
  expect(await server.exited).toBe(0);
});

test("while it drains it is alive but not ready, and says why", async () => {
  await using server = await startServer();
  terminate(server);
  await Bun.sleep(200);
  const ready = await fetch(`${server.url}/readyz`);
  expect(ready.status).toBe(503);
  expect(await ready.json()).toEqual({ ready: false, reasons: ["the server is shutting down"] });
  expect((await fetch(`${server.url}/healthz`)).status).toBe(200);
  expect(await server.exited).toBe(0);
});

async function stalledUpload(server: TestServer): Promise<RawConnection> {
  const path = await openUpload(server.url, "a");
  const connection = await RawConnection.open(server.port);
  connection.request("PATCH", path, { "Content-Length": 1_000_000 });
  connection.send("x".repeat(1000));
  await Bun.sleep(100);
  return connection;
}

test("drain.timeout cuts what does not end", async () => {
  await using server = await startServer({ env: { HOLDFAST_DRAIN_TIMEOUT: "1500ms" } });
  using connection = await stalledUpload(server);
  const started = performance.now();
  terminate(server);
  await connection.closed();
  expect(await server.exited).toBe(0);
  const took = performance.now() - started;
  expect(took).toBeGreaterThan(1400);
  expect(took).toBeLessThan(4000);
});

test("a second signal ends it at once", async () => {
  await using server = await startServer();
  using connection = await stalledUpload(server);
  terminate(server);
  await Bun.sleep(1200);
  const started = performance.now();
  terminate(server);
  expect(await server.exited).toBe(1);
  expect(performance.now() - started).toBeLessThan(1000);
  await connection.closed();
  await server.kill();
});
