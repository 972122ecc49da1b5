import { expect, test } from "bun:test";
import { openInProcess } from "../support/in-process.ts";
import { expectError } from "./support/errors.ts";
import { pushImage, pushBlob, openSession, putManifest, tagsOf } from "./support/requests.ts";
import { digestOf, imageOf } from "./support/content.ts";

test("the API answers at /v2/ and at /v2 with an empty object", async () => {
  await using registry = await openInProcess();
  for (const path of ["/v2/", "/v2"]) {
    const response = await registry.handle(path);
    expect(response.status).toBe(200);
    expect(response.headers.get("Content-Type")).toStartWith("application/json");
    expect(await response.json()).toEqual({});
  }
});

test("every answer names the API's version, refusals included, and never the signature extension", async () => {
  await using registry = await openInProcess();
  for (const path of ["/v2/", "/v2/a/tags/list", "/v2/_catalog", "/v2/a/manifests/b"]) {
    const { headers } = await registry.handle(path);
    expect(headers.get("Docker-Distribution-Api-Version")).toBe("registry/2.0");
    expect(headers.get("X-Content-Type-Options")).toBe("nosniff");
    expect(headers.get("Content-Security-Policy")).toContain("sandbox");
    expect(headers.has("X-Registry-Supports-Signatures")).toBe(false);
  }
});

test("repository names may hold the API's own words", async () => {
  await using registry = await openInProcess();
  for (const name of [
    "blobs/uploads/blobs",
    "manifests",
    "tags/list",
    "a/referrers/b",
    "uploads",
  ]) {
    const { digest, layer } = await pushImage(registry.handle, name, "v1");
    expect((await registry.handle(`/v2/${name}/manifests/${digest}`)).status).toBe(200);
    expect((await registry.handle(`/v2/${name}/blobs/${layer}`)).status).toBe(200);
    expect(await tagsOf(registry.handle, name)).toEqual(["v1"]);
  }
});

test("a path may be percent-encoded", async () => {
  await using registry = await openInProcess();
  const { digest, layer } = await pushImage(registry.handle, "a/b", "v1.0");
  const encoded = (text: string): string => encodeURIComponent(text);
  expect((await registry.handle(`/v2/a/b/manifests/${encoded(digest)}`)).status).toBe(200);
  expect((await registry.handle(`/v2/a/b/blobs/${encoded(layer)}`)).status).toBe(200);
  expect((await registry.handle("/v2/a/b/manifests/v1%2E0")).status).toBe(200);
});

test("an upload may be opened without the slash at the end", async () => {
  await using registry = await openInProcess();
  const response = await registry.handle("/v2/a/blobs/uploads", { method: "POST" });
  expect(response.status).toBe(202);
});

test("what is not of the API is refused in its own error form", async () => {
  await using registry = await openInProcess();
  await expectError(await registry.handle("/"), 404, "UNSUPPORTED");
  await expectError(await registry.handle("/v1/search"), 404, "UNSUPPORTED");
  await expectError(await registry.handle("/v2/_oci/ext/discover"), 404, "UNSUPPORTED");
  await expectError(await registry.handle("/v2/a/tags/other"), 404, "UNSUPPORTED");
  await expectError(await registry.handle("/extensions/v2/a/signatures/b"), 404, "UNSUPPORTED");
});

test("a method that an endpoint lacks is refused with those it has", async () => {
  await using registry = await openInProcess();
  const cases: readonly [string, string, string][] = [
    ["/v2/", "POST", "GET, HEAD"],
    ["/v2/_catalog", "DELETE", "GET"],
    ["/v2/a/tags/list", "PUT", "GET"],
    [`/v2/a/blobs/${digestOf("x")}`, "PUT", "GET, HEAD, DELETE"],
    ["/v2/a/manifests/v1", "PATCH", "GET, HEAD, PUT, DELETE"],
    ["/v2/a/blobs/uploads/", "GET", "POST"],
    [`/v2/a/referrers/${digestOf("x")}`, "POST", "GET"],
  ];
  for (const [path, method, allowed] of cases) {
    const response = await registry.handle(path, { method });
    expect(response.headers.get("Allow")).toBe(allowed);
    await expectError(response, 405, "UNSUPPORTED");
  }
});

test("links are relative with a leading slash", async () => {
  await using registry = await openInProcess();
  const location = await openSession(registry.handle, "a");
  expect(location).toStartWith("/v2/a/blobs/uploads/");
  const digest = await pushBlob(registry.handle, "a", "{}");
  const pushed = await putManifest(registry.handle, "a", "v1", imageOf([]));
  expect(pushed.headers.get("Location")).toBe(`/v2/a/manifests/${digestOf(imageOf([]))}`);
  const mount = `/v2/b/blobs/uploads/?mount=${digest}&from=a`;
  const mounted = await registry.handle(mount, { method: "POST" });
  expect(mounted.headers.get("Location")).toBe(`/v2/b/blobs/${digest}`);
});

test("with publicUrl all links begin there, whatever the Host header says", async () => {
  await using registry = await openInProcess({
    env: { HOLDFAST_PUBLIC_URL: "https://registry.example.com" },
  });
  const init = { method: "POST", headers: { Host: "evil.test", "X-Forwarded-Host": "evil.test" } };
  const opened = await registry.handle("/v2/a/blobs/uploads/", init);
  const location = opened.headers.get("Location") ?? "";
  expect(location).toStartWith("https://registry.example.com/v2/a/blobs/uploads/");
  await pushImage(registry.handle, "a", "v1");
  await pushImage(registry.handle, "a", "v2");
  const page = await registry.handle("/v2/a/tags/list?n=1");
  expect(page.headers.get("Link")).toBe(
    '<https://registry.example.com/v2/a/tags/list?n=1&last=v1>; rel="next"',
  );
});
