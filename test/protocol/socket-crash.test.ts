import { expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { alive, signal, until } from "../support/processes.ts";
import { startServer, type TestServer } from "../support/server.ts";
import { bytesOf, digestOf } from "./support/content.ts";
import { chunkOf, headOf, RawConnection } from "./support/raw.ts";
import { openSession, patch, put, type Handle } from "./support/requests.ts";

const SIZE = 4_000_000;

/** Over a connection of its own: one that a killed worker left behind is no use. */
function handleOf(server: TestServer): Handle {
  return async (path, init = {}) => {
    const headers = new Headers(init.headers);
    headers.set("Connection", "close");
    return fetch(server.url + path, { ...init, headers });
  };
}

async function held(handle: Handle, location: string): Promise<number> {
  const response = await handle(location);
  expect(response.status).toBe(204);
  const end = Number(response.headers.get("Range")?.split("-")[1]);
  return end === 0 ? 0 : end + 1;
}

/** Goes on from whatever the upload holds, and checks that the blob comes out right. */
async function resume(
  handle: Handle,
  location: string,
  content: Uint8Array<ArrayBuffer>,
): Promise<void> {
  const have = await held(handle, location);
  expect(have).toBeLessThanOrEqual(content.length);
  const range = { "Content-Range": `${have}-${content.length - 1}` };
  expect((await patch(handle, location, content.slice(have), range)).status).toBe(202);
  const digest = digestOf(content);
  expect((await put(handle, `${location}?digest=${digest}`, "")).status).toBe(201);
  const got = await handle(`/v2/a/blobs/${digest}`);
  expect(digestOf(new Uint8Array(await got.arrayBuffer()))).toBe(digest);
}

/** A PATCH whose body stops in the middle, once the server holds some of it. */
async function halfPatch(
  server: TestServer,
  location: string,
  bytes: Uint8Array,
  before: number,
): Promise<RawConnection> {
  const connection = await RawConnection.open(server.port);
  connection.write(headOf("PATCH", location, { "Transfer-Encoding": "chunked" }));
  for (let at = 0; at < bytes.length; at += 100_000) {
    await connection.flush(chunkOf(bytes.slice(at, at + 100_000)));
  }
  const grown = async (): Promise<boolean> => (await held(handleOf(server), location)) > before;
  await until(grown, 5000, "bytes to arrive");
  return connection;
}

test("an upload whose worker is killed goes on with another one", async () => {
  await using server = await startServer({ port: 26_020 });
  const handle = handleOf(server);
  for (const acknowledged of [0, 300_000]) {
    const content = bytesOf(SIZE, acknowledged + 1);
    const location = await openSession(handle, "a");
    if (acknowledged > 0) await patch(handle, location, content.slice(0, acknowledged));
    const before = server.workers();
    const middle = content.slice(acknowledged, SIZE / 2);
    using connection = await halfPatch(server, location, middle, acknowledged);
    for (const pid of before) signal(pid, "SIGKILL");
    expect(await connection.closes(5000)).toBe(true);
    await until(() => !before.some(alive) && server.workers().length === 2, 10_000, "new workers");
    await until(
      async () => (await handle("/readyz").catch(() => undefined))?.ok === true,
      10_000,
      "them",
    );
    // What was acknowledged is there for good, what came after it may be.
    expect(await held(handle, location)).toBeGreaterThanOrEqual(acknowledged);
    await resume(handle, location, content);
  }
}, 60_000);

test("an upload whose server is killed goes on after the restart", async () => {
  const home = mkdtempSync(join(tmpdir(), "holdfast-crash-"));
  try {
    const data = join(home, "data");
    const content = bytesOf(SIZE, 5);
    const acknowledged = 300_000;
    const first = await startServer({ port: 26_021, data });
    const location = await openSession(handleOf(first), "a");
    await patch(handleOf(first), location, content.slice(0, acknowledged));
    const middle = content.slice(acknowledged, SIZE / 2);
    using connection = await halfPatch(first, location, middle, acknowledged);
    await first.kill();
    expect(await connection.closes(5000)).toBe(true);
    await first.stop();
    await using second = await startServer({ port: 26_022, data });
    expect(await held(handleOf(second), location)).toBeGreaterThanOrEqual(acknowledged);
    expect((await handleOf(second)(`/v2/a/blobs/${digestOf(content)}`)).status).toBe(404);
    await resume(handleOf(second), location, content);
  } finally {
    rmSync(home, { recursive: true, force: true });
  }
}, 60_000);

test("heads that come a byte a second are cut off, and nobody else waits for them", async () => {
  await using server = await startServer({ port: 26_023 });
  const slow = await Promise.all(
    Array.from({ length: 50 }, async () => RawConnection.open(server.port)),
  );
  const head = headOf("GET", "/v2/", { "X-Filler": "x".repeat(100) });
  const started = Date.now();
  for (let i = 0; slow.some((c) => !c.closed) && Date.now() - started < 30_000; i++) {
    for (const connection of slow) connection.write(head.slice(i, i + 1));
    expect((await handleOf(server)("/v2/")).status).toBe(200);
    await Bun.sleep(1000);
  }
  expect(slow.filter((connection) => !connection.closed)).toHaveLength(0);
}, 60_000);
