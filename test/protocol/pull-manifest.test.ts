import { expect, test } from "bun:test";
import { openInProcess } from "../support/in-process.ts";
import { digestOf, DOCKER_IMAGE, imageOf, OCI_IMAGE, type Json } from "./support/content.ts";
import { expectError } from "./support/errors.ts";
import { pushBlob, pushImage, pushManifest } from "./support/requests.ts";

test("a manifest comes back byte for byte, with its type, length and digest", async () => {
  await using registry = await openInProcess();
  await pushBlob(registry.handle, "a", "{}");
  const text = `${imageOf([]).replace("{", "{ \n ")}\n`;
  await pushManifest(registry.handle, "a", "v1", text);
  for (const reference of ["v1", digestOf(text)]) {
    const response = await registry.handle(`/v2/a/manifests/${reference}`);
    expect(response.status).toBe(200);
    expect(response.headers.get("Content-Type")).toBe(OCI_IMAGE);
    expect(response.headers.get("Docker-Content-Digest")).toBe(digestOf(text));
    expect(response.headers.get("ETag")).toBe(`"${digestOf(text)}"`);
    expect(await response.text()).toBe(text);
  }
});

test("HEAD of a manifest has the headers of GET and the length, and no body", async () => {
  await using registry = await openInProcess();
  const { text, digest } = await pushImage(registry.handle, "a", "v1");
  for (const reference of ["v1", digest]) {
    const path = `/v2/a/manifests/${reference}`;
    const head = await registry.handle(path, { method: "HEAD" });
    const get = await registry.handle(path);
    expect(head.status).toBe(200);
    expect(head.headers.get("Content-Length")).toBe(`${text.length}`);
    for (const name of ["Content-Type", "Docker-Content-Digest", "ETag"]) {
      expect(head.headers.get(name)).toBe(get.headers.get(name));
    }
    expect(await head.text()).toBe("");
  }
});

test("what a client accepts does not change what it gets", async () => {
  await using registry = await openInProcess();
  await pushImage(registry.handle, "a", "v1");
  for (const accept of ["*/*", "text/html", DOCKER_IMAGE, `${OCI_IMAGE};q=0.1, */*`, ""]) {
    const response = await registry.handle("/v2/a/manifests/v1", { headers: { Accept: accept } });
    expect(response.status).toBe(200);
    expect(response.headers.get("Content-Type")).toBe(OCI_IMAGE);
  }
});

test("nothing is compressed, whatever encodings a client takes", async () => {
  await using registry = await openInProcess();
  const { layer } = await pushImage(registry.handle, "a", "v1", "x".repeat(100_000));
  const headers = { "Accept-Encoding": "zstd;q=1.0, gzip;q=0.8, deflate;q=0.5" };
  for (const path of ["/v2/a/manifests/v1", `/v2/a/blobs/${layer}`]) {
    const response = await registry.handle(path, { headers });
    expect(response.headers.has("Content-Encoding")).toBe(false);
  }
});

test("parameters of the Content-Type are dropped", async () => {
  await using registry = await openInProcess();
  await pushBlob(registry.handle, "a", "{}");
  await pushManifest(registry.handle, "a", "v1", imageOf([]), `${OCI_IMAGE}; charset=utf-8`);
  const response = await registry.handle("/v2/a/manifests/v1");
  expect(response.headers.get("Content-Type")).toBe(OCI_IMAGE);
});

test("a mirror's ns parameter is no hindrance", async () => {
  await using registry = await openInProcess();
  const { digest, layer } = await pushImage(registry.handle, "library/a", "v1");
  for (const path of ["manifests/v1", `manifests/${digest}`, `blobs/${layer}`]) {
    for (const method of ["GET", "HEAD"]) {
      const response = await registry.handle(`/v2/library/a/${path}?ns=docker.io`, { method });
      expect(response.status).toBe(200);
    }
  }
});

test("a manifest is unknown to a repository that does not hold it, though another one does", async () => {
  await using registry = await openInProcess();
  const { digest, layer } = await pushImage(registry.handle, "a", "v1");
  await pushImage(registry.handle, "b", "v1");
  const manifest = await registry.handle(`/v2/b/manifests/${digest}`);
  await expectError(manifest, 404, "MANIFEST_UNKNOWN");
  await expectError(await registry.handle(`/v2/b/blobs/${layer}`), 404, "BLOB_UNKNOWN");
});

test("a manifest of a repository that does not exist is unknown", async () => {
  await using registry = await openInProcess();
  const paths = ["/v2/none/manifests/v1", `/v2/none/manifests/${digestOf("x")}`];
  for (const path of paths) {
    await expectError(await registry.handle(path), 404, "MANIFEST_UNKNOWN");
    const head = await registry.handle(path, { method: "HEAD" });
    expect([head.status, await head.text()]).toEqual([404, ""]);
  }
});

test("a manifest by its digest is no blob, and a blob no manifest", async () => {
  await using registry = await openInProcess();
  const { digest, layer } = await pushImage(registry.handle, "a", "v1");
  await expectError(await registry.handle(`/v2/a/blobs/${digest}`), 404, "BLOB_UNKNOWN");
  await expectError(await registry.handle(`/v2/a/manifests/${layer}`), 404, "MANIFEST_UNKNOWN");
});

test("a push by digest makes no tag", async () => {
  await using registry = await openInProcess();
  await pushBlob(registry.handle, "a", "{}");
  await pushManifest(registry.handle, "a", digestOf(imageOf([])), imageOf([]));
  const list = (await (await registry.handle("/v2/a/tags/list")).json()) as Json;
  expect(list).toEqual({ name: "a", tags: [] });
});

test("a tag shows the manifest that was pushed last", async () => {
  await using registry = await openInProcess();
  const first = await pushImage(registry.handle, "a", "v1", "first");
  const second = await pushImage(registry.handle, "a", "v1", "second");
  const response = await registry.handle("/v2/a/manifests/v1");
  expect(await response.text()).toBe(second.text);
  expect((await registry.handle(`/v2/a/manifests/${first.digest}`)).status).toBe(200);
});
