import { expect, test } from "bun:test";
import { openInProcess } from "../support/in-process.ts";
import { bytesOf, digestOf } from "./support/content.ts";
import { expectError } from "./support/errors.ts";
import { header, openSession, patch, put, streamed } from "./support/requests.ts";

for (const method of ["PATCH", "PUT"] as const) {
  for (const [what, range] of [
    ["skips ahead", "5-7"],
    ["starts anew", "0-2"],
    ["repeats the end", "2-4"],
  ] as const) {
    test(`a ${method} that ${what} is refused with 416, and the session goes on`, async () => {
      await using registry = await openInProcess();
      const location = await openSession(registry.handle, "a");
      await patch(registry.handle, location, "abc", { "Content-Range": "0-2" });
      const query = method === "PUT" ? `?digest=${digestOf("abcdef")}` : "";
      const refused = await registry.handle(location + query, {
        method,
        body: "xyz",
        headers: { "Content-Range": range },
      });
      // What regclient needs to go on without asking for the status.
      expect(refused.headers.get("Range")).toBe("0-2");
      expect(refused.headers.get("Location")).toBe(location);
      await expectError(refused, 416, "BLOB_UPLOAD_INVALID");

      const status = await registry.handle(location + query);
      expect(status.status).toBe(204);
      expect(status.headers.get("Range")).toBe("0-2");
      expect(header(status, "Location")).toBe(location);
      const last = { "Content-Range": "3-5" };
      const path = `${location}?digest=${digestOf("abcdef")}`;
      expect((await put(registry.handle, path, "def", last)).status).toBe(201);
    });
  }
}

test("a first chunk that does not start at 0 is refused with 416", async () => {
  await using registry = await openInProcess();
  const location = await openSession(registry.handle, "a");
  const refused = await patch(registry.handle, location, "abc", { "Content-Range": "3-5" });
  await expectError(refused, 416, "BLOB_UPLOAD_INVALID");
  const small = `${location}?digest=${digestOf("abc")}`;
  const closing = await put(registry.handle, small, "abc", { "Content-Range": "3-5" });
  await expectError(closing, 416, "BLOB_UPLOAD_INVALID");
  expect((await put(registry.handle, small, "abc")).status).toBe(201);
});

test("a Content-Range of another length than the Content-Length is refused, and nothing is taken", async () => {
  await using registry = await openInProcess();
  const location = await openSession(registry.handle, "a");
  for (const range of ["0-1", "0-3", "0-1000000"]) {
    const headers = { "Content-Range": range };
    const refused = await patch(registry.handle, location, "abc", headers);
    await expectError(refused, 400, "SIZE_INVALID");
    const path = `${location}?digest=${digestOf("abc")}`;
    await expectError(await put(registry.handle, path, "abc", headers), 400, "SIZE_INVALID");
  }
  expect((await registry.handle(location)).headers.get("Range")).toBe("0-0");
});

for (const size of [30, 300_000]) {
  test(`of a chunked body of ${size} bytes no byte beyond its Content-Range is taken`, async () => {
    await using registry = await openInProcess();
    const content = bytesOf(size);
    const location = await openSession(registry.handle, "a");
    const refused = await registry.handle(location, {
      method: "PATCH",
      body: streamed(content.slice(0, 10), content.slice(10)),
      headers: { "Content-Range": "0-9" },
    });
    await expectError(refused, 400, "SIZE_INVALID");
    expect((await registry.handle(location)).headers.get("Range")).toBe("0-9");
    const rest = { "Content-Range": `10-${size - 1}` };
    const path = `${location}?digest=${digestOf(content)}`;
    expect((await put(registry.handle, path, content.slice(10), rest)).status).toBe(201);
  });
}

test("of a chunked body that is shorter than its Content-Range what came is kept", async () => {
  await using registry = await openInProcess();
  const location = await openSession(registry.handle, "a");
  const refused = await registry.handle(location, {
    method: "PATCH",
    body: streamed("abc"),
    headers: { "Content-Range": "0-9" },
  });
  await expectError(refused, 400, "SIZE_INVALID");
  expect((await registry.handle(location)).headers.get("Range")).toBe("0-2");
});

test("a malformed Content-Range is refused", async () => {
  await using registry = await openInProcess();
  const location = await openSession(registry.handle, "a");
  for (const range of ["0", "a-b", "-5", "0--1", "2-0", "0-99999999999999999999", "0-2, 3-5"]) {
    const refused = await patch(registry.handle, location, "abc", { "Content-Range": range });
    await expectError(refused, 400, "BLOB_UPLOAD_INVALID");
  }
});

test("of two PATCHes at once one is refused with 416, and the bytes of the other stand", async () => {
  await using registry = await openInProcess();
  const location = await openSession(registry.handle, "a");
  let release = (): void => {};
  const gate = new Promise<void>((resolve) => (release = resolve));
  const slow = new ReadableStream<Uint8Array<ArrayBuffer>>({
    async start(controller) {
      controller.enqueue(new Uint8Array(Buffer.from("first")));
      await gate;
      controller.enqueue(new Uint8Array(Buffer.from(" and last")));
      controller.close();
    },
  });
  const first = registry.handle(location, { method: "PATCH", body: slow });
  await Bun.sleep(20);
  const second = await patch(registry.handle, location, "intruder");
  await expectError(second, 416, "BLOB_UPLOAD_INVALID");
  const closing = await put(registry.handle, `${location}?digest=${digestOf("x")}`, "x".repeat(9));
  expect([400, 416]).toContain(closing.status);
  release();
  expect((await first).status).toBe(202);
  const path = `${location}?digest=${digestOf("first and last")}`;
  expect((await put(registry.handle, path, "")).status).toBe(201);
});

test("of twenty equal chunks at once exactly one is taken", async () => {
  await using registry = await openInProcess();
  const content = bytesOf(100_000);
  const location = await openSession(registry.handle, "a");
  const statuses = await Promise.all(
    Array.from({ length: 20 }, async () => {
      const headers = { "Content-Range": "0-99999" };
      return (await patch(registry.handle, location, content.slice(), headers)).status;
    }),
  );
  expect(statuses.sort((a, b) => a - b)).toEqual([202, ...Array.from({ length: 19 }, () => 416)]);
  const path = `${location}?digest=${digestOf(content)}`;
  expect((await put(registry.handle, path, "")).status).toBe(201);
});
