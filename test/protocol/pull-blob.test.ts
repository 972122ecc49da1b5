import { expect, test } from "bun:test";
import { openInProcess } from "../support/in-process.ts";
import { bytesOf, digestOf } from "./support/content.ts";
import { expectError } from "./support/errors.ts";
import { pushBlob } from "./support/requests.ts";

for (const size of [0, 1, 2, 4096, 65_536, 65_537, 1_000_000]) {
  test(`a blob of ${size} bytes comes back byte for byte`, async () => {
    await using registry = await openInProcess();
    const content = bytesOf(size);
    const digest = await pushBlob(registry.handle, "a", content);
    const path = `/v2/a/blobs/${digest}`;
    const head = await registry.handle(path, { method: "HEAD" });
    expect(head.status).toBe(200);
    expect(head.headers.get("Content-Length")).toBe(`${size}`);
    expect(await head.text()).toBe("");
    const get = await registry.handle(path);
    expect(get.status).toBe(200);
    expect(new Uint8Array(await get.arrayBuffer())).toEqual(content);
    for (const { headers } of [head, get]) {
      expect(headers.get("Content-Type")).toBe("application/octet-stream");
      expect(headers.get("Docker-Content-Digest")).toBe(digest);
      expect(headers.get("Accept-Ranges")).toBe("bytes");
      expect(headers.get("ETag")).toBe(`"${digest}"`);
    }
  });
}

test("a blob that is not there is unknown", async () => {
  await using registry = await openInProcess();
  await pushBlob(registry.handle, "a", "x");
  for (const name of ["a", "none"]) {
    const path = `/v2/${name}/blobs/${digestOf("y")}`;
    await expectError(await registry.handle(path), 404, "BLOB_UNKNOWN");
    const head = await registry.handle(path, { method: "HEAD" });
    expect([head.status, await head.text()]).toEqual([404, ""]);
  }
});

test("a blob pushed under sha512 is known by that digest only", async () => {
  await using registry = await openInProcess();
  const digest = await pushBlob(registry.handle, "a", "content", "sha512");
  const response = await registry.handle(`/v2/a/blobs/${digest}`);
  expect(response.headers.get("Docker-Content-Digest")).toBe(digest);
  expect(await response.text()).toBe("content");
  const other = await registry.handle(`/v2/a/blobs/${digestOf("content")}`);
  await expectError(other, 404, "BLOB_UNKNOWN");
});
