import { expect, test } from "bun:test";
import { openInProcess, type InProcess } from "../support/in-process.ts";
import { bytesOf, digestOf, EMPTY_JSON, type Bytes } from "./support/content.ts";
import { expectError } from "./support/errors.ts";
import { header, openSession, patch, pushBlob, put, streamed } from "./support/requests.ts";

async function expectBlob({ handle }: InProcess, name: string, content: Bytes): Promise<void> {
  const response = await handle(`/v2/${name}/blobs/${digestOf(content)}`);
  expect(response.status).toBe(200);
  expect(Buffer.from(await response.arrayBuffer())).toEqual(Buffer.from(content));
}

test("POST and PUT: two requests bring a blob, and the answer says where it is and what", async () => {
  await using registry = await openInProcess();
  const digest = digestOf("content");
  const location = await openSession(registry.handle, "a");
  const done = await put(registry.handle, `${location}?digest=${digest}`, "content");
  expect(done.status).toBe(201);
  expect(done.headers.get("Location")).toBe(`/v2/a/blobs/${digest}`);
  expect(done.headers.get("Docker-Content-Digest")).toBe(digest);
  await expectBlob(registry, "a", "content");
});

test("POST with a digest: one request brings a blob", async () => {
  await using registry = await openInProcess();
  const digest = digestOf("content");
  const path = `/v2/a/blobs/uploads/?digest=${encodeURIComponent(digest)}`;
  const done = await registry.handle(path, { method: "POST", body: "content" });
  expect(done.status).toBe(201);
  expect(done.headers.get("Location")).toBe(`/v2/a/blobs/${digest}`);
  expect(done.headers.get("Docker-Content-Digest")).toBe(digest);
  await expectBlob(registry, "a", "content");
});

test("POST as crane sends it, with a type and no body, opens a session", async () => {
  await using registry = await openInProcess();
  const opened = await registry.handle("/v2/a/blobs/uploads/", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: "",
  });
  expect(opened.status).toBe(202);
  expect(opened.headers.get("Range")).toBe("0-0");
  const location = header(opened, "Location");
  expect(location).toEndWith(`/${header(opened, "Docker-Upload-UUID")}`);
});

test("POST, PATCH and PUT as docker sends them: a chunked body without a Content-Range", async () => {
  await using registry = await openInProcess();
  const content = bytesOf(300_000);
  const location = await openSession(registry.handle, "a");
  const body = streamed(content.subarray(0, 100_000), content.subarray(100_000));
  const chunk = await registry.handle(location, { method: "PATCH", body });
  expect(chunk.status).toBe(202);
  // A reply without a Range of this form fails a docker push.
  expect(chunk.headers.get("Range")).toBe("0-299999");
  const next = header(chunk, "Location");
  const done = await put(registry.handle, `${next}?digest=${digestOf(content)}`, "");
  expect(done.status).toBe(201);
  await expectBlob(registry, "a", content);
});

test("chunks with a Content-Range follow one another, the last one with the closing PUT", async () => {
  await using registry = await openInProcess();
  const content = bytesOf(250_000);
  let location = await openSession(registry.handle, "a");
  for (const [start, end] of [
    [0, 99_999],
    [100_000, 199_999],
  ] as const) {
    const piece = content.slice(start, end + 1);
    const range = { "Content-Range": `${start}-${end}` };
    const chunk = await patch(registry.handle, location, piece, range);
    expect(chunk.status).toBe(202);
    expect(chunk.headers.get("Range")).toBe(`0-${end}`);
    location = header(chunk, "Location");
  }
  const last = { "Content-Range": "200000-249999" };
  const path = `${location}?digest=${digestOf(content)}`;
  expect((await put(registry.handle, path, content.slice(200_000), last)).status).toBe(201);
  await expectBlob(registry, "a", content);
});

test("chunks may be of one byte", async () => {
  await using registry = await openInProcess();
  const location = await openSession(registry.handle, "a");
  for (const [i, letter] of ["a", "b", "c", "d", "e"].entries()) {
    const chunk = await patch(registry.handle, location, letter, { "Content-Range": `${i}-${i}` });
    expect(chunk.headers.get("Range")).toBe(`0-${i}`);
  }
  const done = await put(registry.handle, `${location}?digest=${digestOf("abcde")}`, "");
  expect(done.status).toBe(201);
  await expectBlob(registry, "a", "abcde");
});

test("a Content-Range as RFC 9110 writes it is understood as well", async () => {
  await using registry = await openInProcess();
  const location = await openSession(registry.handle, "a");
  const headers = { "Content-Range": "bytes 0-2/*" };
  expect((await patch(registry.handle, location, "abc", headers)).status).toBe(202);
});

test("a blob without bytes can be pushed in each way", async () => {
  await using registry = await openInProcess();
  const digest = digestOf("");
  const location = await openSession(registry.handle, "put");
  expect((await put(registry.handle, `${location}?digest=${digest}`, "")).status).toBe(201);
  await pushBlob(registry.handle, "post", "");
  const patched = await openSession(registry.handle, "patch");
  expect((await patch(registry.handle, patched, "")).headers.get("Range")).toBe("0-0");
  expect((await put(registry.handle, `${patched}?digest=${digest}`, "")).status).toBe(201);
  for (const name of ["put", "post", "patch"]) await expectBlob(registry, name, "");
});

for (const size of [10, 300_000]) {
  test(`a sha512 blob of ${size} bytes needs no announcement, and an announced one works too`, async () => {
    await using registry = await openInProcess();
    for (const query of ["", "?digest-algorithm=sha512", "?digest-algorithm=sha256"]) {
      const content = bytesOf(size, query.length + 1);
      const digest = digestOf(content, "sha512");
      const location = await openSession(registry.handle, "a", query);
      expect((await patch(registry.handle, location, content)).status).toBe(202);
      const done = await put(registry.handle, `${location}?digest=${digest}`, "");
      expect(done.status).toBe(201);
      expect(done.headers.get("Docker-Content-Digest")).toBe(digest);
      const got = await registry.handle(`/v2/a/blobs/${digest}`);
      expect(new Uint8Array(await got.arrayBuffer())).toEqual(content);
    }
  });
}

test("an algorithm that the registry cannot compute is refused when the session is opened", async () => {
  await using registry = await openInProcess();
  for (const algorithm of ["md5", "blake3", "", "SHA256"]) {
    const path = `/v2/a/blobs/uploads/?digest-algorithm=${algorithm}`;
    await expectError(await registry.handle(path, { method: "POST" }), 400, "DIGEST_INVALID");
  }
});

for (const size of [10, 300_000]) {
  test(`a wrong digest of ${size} bytes is refused on every way, and nothing of it is served`, async () => {
    await using registry = await openInProcess();
    const content = bytesOf(size);
    const wrong = digestOf("something else");
    const posted = await registry.handle(`/v2/a/blobs/uploads/?digest=${wrong}`, {
      method: "POST",
      body: content,
    });
    await expectError(posted, 400, "DIGEST_INVALID");
    const whole = await openSession(registry.handle, "a");
    const once = await put(registry.handle, `${whole}?digest=${wrong}`, content);
    await expectError(once, 400, "DIGEST_INVALID");
    const chunked = await openSession(registry.handle, "a");
    expect((await patch(registry.handle, chunked, content)).status).toBe(202);
    const closed = await put(registry.handle, `${chunked}?digest=${wrong}`, "");
    await expectError(closed, 400, "DIGEST_INVALID");
    for (const digest of [wrong, digestOf(content)]) {
      expect((await registry.handle(`/v2/a/blobs/${digest}`)).status).toBe(404);
    }
  });

  test(`after a wrong digest of ${size} bytes the session takes the blob anew`, async () => {
    await using registry = await openInProcess();
    const content = bytesOf(size);
    for (const chunked of [false, true]) {
      const location = await openSession(registry.handle, `a${chunked}`);
      if (chunked) await patch(registry.handle, location, content);
      const wrong = `${location}?digest=${digestOf("other")}`;
      await put(registry.handle, wrong, chunked ? "" : content);
      const status = await registry.handle(location);
      expect([status.status, status.headers.get("Range")]).toEqual([204, "0-0"]);
      const again = await put(registry.handle, `${location}?digest=${digestOf(content)}`, content);
      expect(again.status).toBe(201);
    }
  });
}

test("a malformed digest, an unknown algorithm or none is refused before the body is read", async () => {
  await using registry = await openInProcess();
  const location = await openSession(registry.handle, "a");
  const upper = digestOf("x").toUpperCase();
  const digests = ["sha256:abc", upper, "md5:abcd", "sha256", `${digestOf("x")}0`, "../x", ""];
  for (const digest of digests) {
    const query = `?digest=${encodeURIComponent(digest)}`;
    let pulled = false;
    const body = new ReadableStream<Uint8Array<ArrayBuffer>>(
      { pull: () => void (pulled = true) },
      { highWaterMark: 0 },
    );
    const response = await registry.handle(`${location}${query}`, { method: "PUT", body });
    await expectError(response, 400, "DIGEST_INVALID");
    expect(pulled).toBe(false);
    const posted = await registry.handle(`/v2/a/blobs/uploads/${query}`, { method: "POST" });
    await expectError(posted, 400, "DIGEST_INVALID");
  }
  await expectError(await put(registry.handle, location, "x"), 400, "DIGEST_INVALID");
});

test("a blob that the repository has already may be pushed again", async () => {
  await using registry = await openInProcess();
  for (const content of [EMPTY_JSON, bytesOf(300_000)]) {
    await pushBlob(registry.handle, "a", content);
    await pushBlob(registry.handle, "a", content);
    await pushBlob(registry.handle, "b", content);
    await expectBlob(registry, "b", content);
  }
  const kept = [];
  for await (const blob of registry.blobs.list()) kept.push(blob.size);
  expect(kept.sort((a, b) => a - b)).toEqual([2, 300_000]);
});
