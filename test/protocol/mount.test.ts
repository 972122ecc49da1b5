import { expect, test } from "bun:test";
import { openInProcess } from "../support/in-process.ts";
import { digestOf } from "./support/content.ts";
import { expectError } from "./support/errors.ts";
import { header, openSession, pushBlob, put, type Handle } from "./support/requests.ts";
import { loseBytes } from "./support/stores.ts";

async function mount(handle: Handle, name: string, query: string): Promise<Response> {
  return handle(`/v2/${name}/blobs/uploads/?${query}`, { method: "POST" });
}

/** A mount that did not happen is an upload that can be completed. */
async function expectUpload(handle: Handle, answer: Response, content: string): Promise<void> {
  expect(answer.status).toBe(202);
  const path = `${header(answer, "Location")}?digest=${digestOf(content)}`;
  expect((await put(handle, path, content)).status).toBe(201);
}

test("a blob is mounted from the repository named", async () => {
  await using registry = await openInProcess();
  const digest = await pushBlob(registry.handle, "a/source", "content");
  const queries = [
    `mount=${digest}&from=a/source`,
    `mount=${encodeURIComponent(digest)}&from=a%2Fsource&origin=other.test`,
  ];
  for (const [i, query] of queries.entries()) {
    const answer = await mount(registry.handle, `b${i}`, query);
    expect(answer.status).toBe(201);
    expect(answer.headers.get("Location")).toBe(`/v2/b${i}/blobs/${digest}`);
    expect(answer.headers.get("Docker-Content-Digest")).toBe(digest);
    const blob = await registry.handle(`/v2/b${i}/blobs/${digest}`);
    expect(await blob.text()).toBe("content");
  }
});

test("a mount without a source finds the blob wherever it is", async () => {
  await using registry = await openInProcess();
  const digest = await pushBlob(registry.handle, "a", "content");
  for (const query of [`mount=${digest}`, `mount=${digest}&from=`]) {
    expect((await mount(registry.handle, "b", query)).status).toBe(201);
  }
});

test("a mount of what its source lacks opens an upload instead", async () => {
  await using registry = await openInProcess();
  const digest = await pushBlob(registry.handle, "a", "content");
  const missing = digestOf("missing");
  await expectUpload(
    registry.handle,
    await mount(registry.handle, "b", `mount=${digest}&from=none`),
    "1",
  );
  await expectUpload(
    registry.handle,
    await mount(registry.handle, "b", `mount=${missing}&from=a`),
    "2",
  );
  await expectUpload(registry.handle, await mount(registry.handle, "b", `mount=${missing}`), "3");
});

test("a mount with a malformed digest or source opens an upload instead", async () => {
  await using registry = await openInProcess();
  const digest = await pushBlob(registry.handle, "a", "content");
  for (const query of ["mount=sha256:x&from=a", "mount=", "from=a", `mount=${digest}&from=A..B`]) {
    expect((await mount(registry.handle, "b", query)).status).toBe(202);
  }
  expect((await registry.handle(`/v2/b/blobs/${digest}`)).status).toBe(404);
});

test("a blob deleted from its source is not mounted", async () => {
  await using registry = await openInProcess();
  const digest = await pushBlob(registry.handle, "a", "content");
  await registry.handle(`/v2/a/blobs/${digest}`, { method: "DELETE" });
  expect((await mount(registry.handle, "b", `mount=${digest}&from=a`)).status).toBe(202);
  expect((await mount(registry.handle, "b", `mount=${digest}`)).status).toBe(202);
});

test("a blob whose bytes were lost is not mounted", async () => {
  await using registry = await openInProcess();
  const digest = await pushBlob(registry.handle, "a", "content");
  await loseBytes(registry, digest);
  await expectUpload(
    registry.handle,
    await mount(registry.handle, "b", `mount=${digest}&from=a`),
    "content",
  );
  expect(await (await registry.handle(`/v2/b/blobs/${digest}`)).text()).toBe("content");
});

test("a mount into the repository that has the blob succeeds", async () => {
  await using registry = await openInProcess();
  const digest = await pushBlob(registry.handle, "a", "content");
  expect((await mount(registry.handle, "a", `mount=${digest}&from=a`)).status).toBe(201);
});

test("a mounted blob outlives its source's", async () => {
  await using registry = await openInProcess();
  const digest = await pushBlob(registry.handle, "a", "content");
  await mount(registry.handle, "b", `mount=${digest}&from=a`);
  await registry.handle(`/v2/a/blobs/${digest}`, { method: "DELETE" });
  const gone = await registry.handle(`/v2/a/blobs/${digest}`);
  await expectError(gone, 404, "BLOB_UNKNOWN");
  expect(await (await registry.handle(`/v2/b/blobs/${digest}`)).text()).toBe("content");
});

test("an upload opened by a mount that failed may be cancelled", async () => {
  await using registry = await openInProcess();
  const answer = await mount(registry.handle, "b", `mount=${digestOf("none")}&from=a`);
  const location = header(answer, "Location");
  expect((await registry.handle(location, { method: "DELETE" })).status).toBe(204);
  await expectError(await registry.handle(location), 404, "BLOB_UPLOAD_UNKNOWN");
  expect(await openSession(registry.handle, "b")).not.toBe(location);
});
