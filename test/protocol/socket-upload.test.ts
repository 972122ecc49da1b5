import { expect, test } from "bun:test";
import { readdirSync, readlinkSync } from "node:fs";
import { bytesOf, digestOf } from "./support/content.ts";
import { checkedErrors } from "./support/errors.ts";
import { chunkOf, headOf, type RawConnection } from "./support/raw.ts";
import { openSession, pushBlob, put, type Handle } from "./support/requests.ts";
import { sharedServer } from "./support/shared-server.ts";
import { until } from "../support/processes.ts";

const { server, handle, connect } = sharedServer({
  port: 26_010,
  env: { HOLDFAST_LIMITS_UPLOAD_IDLE: "2s" },
});

/** How many bytes the upload holds. */
async function held(handle: Handle, location: string): Promise<number> {
  const response = await handle(location);
  expect(response.status).toBe(204);
  const end = Number(response.headers.get("Range")?.split("-")[1]);
  return end === 0 ? 0 : end + 1;
}

/** Sends what is still missing as the closing chunk. */
async function finish(location: string, content: Uint8Array<ArrayBuffer>): Promise<void> {
  const have = await held(handle, location);
  const range: Record<string, string> =
    have === content.length ? {} : { "Content-Range": `${have}-${content.length - 1}` };
  const path = `${location}?digest=${digestOf(content)}`;
  const done = await put(handle, path, content.slice(have), range);
  expect([done.status, await done.text()]).toEqual([201, ""]);
}

for (const framing of ["Content-Length", "Transfer-Encoding"] as const) {
  for (const part of [10_000, 1_500_000]) {
    test(`an upload that breaks off after ${part} bytes (${framing}) holds what arrived, and goes on from there`, async () => {
      const content = bytesOf(3_000_000);
      const location = await openSession(handle, "broken");
      using connection = await connect();
      const isChunked = framing === "Transfer-Encoding";
      const headers = { [framing]: isChunked ? "chunked" : `${content.length}` };
      connection.write(headOf("PATCH", location, headers));
      const piece = content.slice(0, part);
      await connection.flush(isChunked ? chunkOf(piece) : piece);
      await Bun.sleep(200);
      connection.destroy();
      await until(async () => (await held(handle, location)) > 0, 5000, "the bytes to show");
      await until(async () => (await held(handle, location)) === part, 5000, "all bytes to show");
      // The request that was cut off may hold the upload for a moment longer.
      await Bun.sleep(100);
      await finish(location, content);
      const got = await handle(`/v2/broken/blobs/${digestOf(content)}`);
      expect(digestOf(new Uint8Array(await got.arrayBuffer()))).toBe(digestOf(content));
    });
  }
}

test("a body that breaks off is never stored as a whole blob, though its digest is that of the part", async () => {
  for (const size of [1000, 200_000]) {
    const part = bytesOf(size, 77);
    for (const framing of [
      { "Content-Length": `${size + 1}` },
      { "Transfer-Encoding": "chunked" },
    ]) {
      for (const method of ["POST", "PUT"]) {
        const target =
          method === "POST" ? "/v2/cut/blobs/uploads/" : await openSession(handle, "cut");
        using connection = await connect();
        connection.write(headOf(method, `${target}?digest=${digestOf(part)}`, framing));
        await connection.flush("Content-Length" in framing ? part : chunkOf(part));
        await Bun.sleep(50);
        connection.destroy();
      }
    }
    await Bun.sleep(200);
    expect((await handle(`/v2/cut/blobs/${digestOf(part)}`)).status).toBe(404);
  }
});

test("a manifest that breaks off is not stored", async () => {
  using connection = await connect();
  connection.write(headOf("PUT", "/v2/cut/manifests/v1", { "Content-Length": "1000" }));
  await connection.flush("{}");
  await Bun.sleep(50);
  connection.destroy();
  await Bun.sleep(100);
  expect((await handle("/v2/cut/manifests/v1")).status).toBe(404);
});

test("a refusal in the middle of a huge upload reaches the client that reads only after writing", async () => {
  for (const [method, path, status] of [
    ["PATCH", "/v2/refused/blobs/uploads/none", 404],
    ["PUT", "/v2/refused/blobs/uploads/none?digest=bad", 400],
    ["POST", "/v2/REFUSED/blobs/uploads/", 400],
    ["PUT", "/v2/refused/manifests/v1", 413],
  ] as const) {
    using connection = await connect();
    connection.write(headOf(method, path, { "Content-Length": `${64 * 1_048_576}` }));
    const piece = bytesOf(1_048_576);
    for (let i = 0; i < 16 && !connection.closed; i++) {
      await Promise.race([connection.flush(piece), Bun.sleep(250)]);
    }
    const response = await connection.response();
    expect([path, response.status]).toEqual([path, status]);
    checkedErrors(response.headers.get("content-type") ?? null, response.body.toString());
  }
  expect((await handle("/v2/")).status).toBe(200);
});

test("a body that stalls for longer than limits.uploadIdle is cut off, and what came is kept", async () => {
  const location = await openSession(handle, "stalled");
  using connection = await connect();
  connection.write(headOf("PATCH", location, { "Content-Length": "100000" }));
  await connection.flush(bytesOf(70_000));
  expect(await connection.closes(12_000)).toBe(true);
  await until(async () => (await held(handle, location)) === 70_000, 3000, "the bytes to show");
}, 20_000);

test("a body that keeps moving at limits.uploadRate is not cut off, one of a few bytes a second is", async () => {
  const content = bytesOf(96_000);
  const trickle = async (method: string, path: string, piece: number): Promise<RawConnection> => {
    const connection = await connect();
    connection.write(headOf(method, path, { "Content-Length": `${12 * piece}` }));
    for (let at = 0; at < 12 * piece && !connection.closed; at += piece) {
      await connection.flush(content.slice(at, at + piece));
      await Bun.sleep(1000);
    }
    return connection;
  };
  const location = await openSession(handle, "slow");
  const [steady, manifest, slow] = await Promise.all([
    trickle("PATCH", await openSession(handle, "steady"), 4000),
    trickle("PUT", "/v2/steady/manifests/v1", 8000),
    trickle("PATCH", location, 20),
  ]);
  expect((await steady.response()).status).toBe(202);
  // Refused for what it says, once it has come whole.
  expect((await manifest.response()).status).toBe(400);
  expect(slow.closed).toBe(true);
  await until(async () => (await held(handle, location)) > 0, 3000, "the bytes to show");
  expect(await held(handle, location)).toBeLessThan(240);
  for (const connection of [steady, manifest, slow]) connection.destroy();
}, 20_000);

test("two PATCHes on two connections: one is refused, and no byte of it is in the blob", async () => {
  const content = bytesOf(400_000);
  for (let round = 0; round < 8; round++) {
    const location = await openSession(handle, "rivals");
    using first = await connect();
    first.write(headOf("PATCH", location, { "Content-Length": `${content.length}` }));
    await first.flush(content.slice(0, 200_000));
    await until(async () => (await held(handle, location)) > 0, 5000, "the first to be taken");
    // On a new connection each time, so on either worker.
    using second = await connect();
    second.request("PATCH", location, {}, bytesOf(1000, 99));
    expect((await second.response()).status).toBe(416);
    await first.flush(content.slice(200_000));
    expect((await first.response()).status).toBe(202);
    await finish(location, content);
  }
});

test("a session goes on over any connection, and each worker", async () => {
  const content = bytesOf(200_000);
  const location = await openSession(handle, "everywhere");
  for (let at = 0; at < content.length; at += 20_000) {
    using connection = await connect();
    const range = { "Content-Range": `${at}-${at + 19_999}` };
    connection.request("PATCH", location, range, content.slice(at, at + 20_000));
    const { status, headers } = await connection.response();
    expect([status, headers.get("range")]).toEqual([202, `0-${at + 19_999}`]);
    using status2 = await connect();
    status2.request("GET", location);
    expect((await status2.response("HEAD")).headers.get("range")).toBe(`0-${at + 19_999}`);
  }
  await finish(location, content);
});

test("downloads that are half read and given up leave no file open", async () => {
  const content = bytesOf(20_000_000);
  const digest = await pushBlob(handle, "downloads", content);
  const connections: RawConnection[] = [];
  for (let i = 0; i < 20; i++) {
    const connection = await connect();
    connection.request(
      "GET",
      `/v2/downloads/blobs/${digest}`,
      i % 2 === 0 ? { Range: "bytes=100-" } : {},
    );
    await until(() => connection.waiting > 0, 5000, "the download to begin");
    connection.pause();
    connections.push(connection);
  }
  expect((await handle("/v2/downloads/tags/list")).status).toBe(200);
  const complete = await handle(`/v2/downloads/blobs/${digest}`);
  expect(digestOf(new Uint8Array(await complete.arrayBuffer()))).toBe(digest);
  expect(openBlobs()).toBeGreaterThan(0);
  for (const connection of connections) connection.destroy();
  await until(() => openBlobs() === 0, 10_000, "the files to be closed");
}, 30_000);

/** Blob files that the workers hold open. */
function openBlobs(): number {
  return server()
    .workers()
    .flatMap((pid) => {
      const directory = `/proc/${pid}/fd`;
      return readdirSync(directory).filter((fd) => {
        try {
          return /\/blobs\/sha256\/..\/[0-9a-f]{64}/.test(readlinkSync(`${directory}/${fd}`));
        } catch {
          return false;
        }
      });
    }).length;
}
