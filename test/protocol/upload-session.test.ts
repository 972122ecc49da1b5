import { expect, test } from "bun:test";
import { keys } from "../../src/meta/keys.ts";
import { openInProcess } from "../support/in-process.ts";
import { bytesOf, digestOf } from "./support/content.ts";
import { expectError } from "./support/errors.ts";
import { openSession, patch, put } from "./support/requests.ts";
import { recordsOf, TestClock, uploadsOf } from "./support/stores.ts";

const DAY = 24 * 3_600_000;
const NEVER = new AbortController().signal;

test("the status of an upload without bytes is 0-0, with where to go on", async () => {
  await using registry = await openInProcess();
  const location = await openSession(registry.handle, "a");
  for (const method of ["GET", "HEAD"]) {
    const status = await registry.handle(location, { method });
    expect(status.status).toBe(204);
    expect(status.headers.get("Range")).toBe("0-0");
    expect(status.headers.get("Location")).toBe(location);
    expect(location).toEndWith(status.headers.get("Docker-Upload-UUID") ?? "none");
  }
});

test("the status of an upload is the last byte that it holds", async () => {
  await using registry = await openInProcess();
  const location = await openSession(registry.handle, "a");
  for (const [size, end] of [
    [1, 0],
    [99_999, 99_999],
  ] as const) {
    await patch(registry.handle, location, bytesOf(size));
    const { headers } = await registry.handle(`${location}?digest=${digestOf("any")}`);
    expect(headers.get("Range")).toBe(`0-${end}`);
  }
});

test("a session is unknown in every other repository", async () => {
  await using registry = await openInProcess();
  const location = await openSession(registry.handle, "a");
  await patch(registry.handle, location, "abc");
  const id = location.split("/").at(-1) ?? "";
  for (const name of ["b", "a/b", "aa"]) {
    const path = `/v2/${name}/blobs/uploads/${id}`;
    await expectError(await registry.handle(path), 404, "BLOB_UPLOAD_UNKNOWN");
    await expectError(await patch(registry.handle, path, "x"), 404, "BLOB_UPLOAD_UNKNOWN");
    const closing = await put(registry.handle, `${path}?digest=${digestOf("abc")}`, "");
    await expectError(closing, 404, "BLOB_UPLOAD_UNKNOWN");
    const cancel = await registry.handle(path, { method: "DELETE" });
    await expectError(cancel, 404, "BLOB_UPLOAD_UNKNOWN");
  }
  expect((await registry.handle(location)).headers.get("Range")).toBe("0-2");
});

test("a session of another installation is unknown", async () => {
  await using here = await openInProcess();
  await using there = await openInProcess();
  const location = await openSession(there.handle, "a");
  await expectError(await here.handle(location), 404, "BLOB_UPLOAD_UNKNOWN");
});

test("a changed id is unknown", async () => {
  await using registry = await openInProcess();
  const location = await openSession(registry.handle, "a");
  for (let at = location.length - 43; at < location.length; at++) {
    const other = location[at] === "A" ? "B" : "A";
    const forged = location.slice(0, at) + other + location.slice(at + 1);
    await expectError(await registry.handle(forged), 404, "BLOB_UPLOAD_UNKNOWN");
  }
});

for (const content of ["", "abc", bytesOf(300_000)]) {
  test(`a cancelled session with ${content.length} bytes is unknown, and its bytes are gone`, async () => {
    await using registry = await openInProcess();
    const location = await openSession(registry.handle, "a");
    if (content.length > 0) await patch(registry.handle, location, content);
    const cancelled = await registry.handle(location, { method: "DELETE" });
    expect(cancelled.status).toBe(204);
    await expectError(await registry.handle(location), 404, "BLOB_UPLOAD_UNKNOWN");
    await expectError(await patch(registry.handle, location, "x"), 404, "BLOB_UPLOAD_UNKNOWN");
    const closing = await put(registry.handle, `${location}?digest=${digestOf("x")}`, "x");
    await expectError(closing, 404, "BLOB_UPLOAD_UNKNOWN");
    const again = await registry.handle(location, { method: "DELETE" });
    await expectError(again, 404, "BLOB_UPLOAD_UNKNOWN");
    expect(await uploadsOf(registry.blobs)).toEqual([]);
  });
}

test("a session that is cancelled while it receives takes no more", async () => {
  await using registry = await openInProcess();
  const location = await openSession(registry.handle, "a");
  let release = (): void => {};
  const gate = new Promise<void>((resolve) => (release = resolve));
  const body = new ReadableStream<Uint8Array<ArrayBuffer>>({
    async start(controller) {
      controller.enqueue(bytesOf(100_000));
      await gate;
      controller.close();
    },
  });
  const receiving = registry.handle(location, { method: "PATCH", body });
  await Bun.sleep(20);
  expect((await registry.handle(location, { method: "DELETE" })).status).toBe(204);
  release();
  await expectError(await receiving, 404, "BLOB_UPLOAD_UNKNOWN");
  expect(await uploadsOf(registry.blobs)).toEqual([]);
});

test("a session without progress for longer than uploads.expiry is unknown", async () => {
  const clock = new TestClock();
  await using registry = await openInProcess({ clock });
  const idle = await openSession(registry.handle, "a");
  const busy = await openSession(registry.handle, "a");
  clock.advance(DAY - 1000);
  await patch(registry.handle, busy, "abc");
  clock.advance(2000);
  await expectError(await registry.handle(idle), 404, "BLOB_UPLOAD_UNKNOWN");
  await expectError(await patch(registry.handle, idle, "x"), 404, "BLOB_UPLOAD_UNKNOWN");
  expect((await registry.handle(busy)).headers.get("Range")).toBe("0-2");
  clock.advance(DAY);
  await expectError(await registry.handle(busy), 404, "BLOB_UPLOAD_UNKNOWN");
});

test("ten thousand sessions opened leave no record and no file", async () => {
  await using registry = await openInProcess();
  for (let i = 0; i < 10_000; i++) await openSession(registry.handle, "a");
  expect(await recordsOf(registry.meta, keys.uploads)).toEqual([]);
  expect(await recordsOf(registry.meta, keys.repositories)).toEqual([]);
  expect(await uploadsOf(registry.blobs)).toEqual([]);
});

test("abandoned sessions are purged with their bytes, living ones are not", async () => {
  const clock = new TestClock();
  await using registry = await openInProcess({ clock });
  for (let i = 0; i < 20; i++) {
    const location = await openSession(registry.handle, "a");
    await patch(registry.handle, location, bytesOf(100, i));
    if (i % 2 === 0) await registry.handle(location, { method: "DELETE" });
  }
  clock.advance(DAY + 1000);
  const living = await openSession(registry.handle, "a");
  await patch(registry.handle, living, "abc");
  expect(await registry.registry.purgeUploads(NEVER)).toBe(20);
  expect(await recordsOf(registry.meta, keys.uploads)).toHaveLength(1);
  expect(await uploadsOf(registry.blobs)).toHaveLength(1);
  const done = await put(registry.handle, `${living}?digest=${digestOf("abc")}`, "");
  expect(done.status).toBe(201);
  expect(await recordsOf(registry.meta, keys.uploads)).toEqual([]);
  expect(await uploadsOf(registry.blobs)).toEqual([]);
});

for (const size of [0, 10, 300_000]) {
  test(`a closing PUT after ${size} bytes may be repeated when its answer was lost`, async () => {
    await using registry = await openInProcess();
    const content = bytesOf(size);
    const location = await openSession(registry.handle, "a");
    await patch(registry.handle, location, content);
    const path = `${location}?digest=${digestOf(content)}`;
    const first = await put(registry.handle, path, "");
    const again = await put(registry.handle, path, "");
    expect([first.status, again.status]).toEqual([201, 201]);
    expect(again.headers.get("Location")).toBe(first.headers.get("Location"));
  });

  test(`two equal closing PUTs at once after ${size} bytes never fail on our side`, async () => {
    await using registry = await openInProcess();
    const content = bytesOf(size);
    for (let round = 0; round < 20; round++) {
      const location = await openSession(registry.handle, "a");
      await patch(registry.handle, location, content);
      const path = `${location}?digest=${digestOf(content)}`;
      const both = await Promise.all([1, 2].map(async () => put(registry.handle, path, "")));
      const statuses = both.map(({ status }) => status);
      expect(statuses).toContain(201);
      for (const status of statuses) expect([201, 404, 416]).toContain(status);
    }
  });
}

test("a closing PUT with its whole body may be repeated", async () => {
  await using registry = await openInProcess();
  for (const size of [10, 300_000]) {
    const location = await openSession(registry.handle, "a");
    const path = `${location}?digest=${digestOf(bytesOf(size))}`;
    expect((await put(registry.handle, path, bytesOf(size))).status).toBe(201);
    expect((await put(registry.handle, path, bytesOf(size))).status).toBe(201);
  }
});
