import { expect, test } from "bun:test";
import { openInProcess } from "../support/in-process.ts";
import { digestOf, EMPTY_JSON, imageOf } from "./support/content.ts";
import { expectError } from "./support/errors.ts";
import { header, pushBlob, pushManifest, putManifest, tagsOf } from "./support/requests.ts";

const TEXT = imageOf([]);

function tagged(digest: string, tags: readonly string[]): string {
  return `${digest}?${tags.map((tag) => `tag=${encodeURIComponent(tag)}`).join("&")}`;
}

for (const algorithm of ["sha256", "sha512"] as const) {
  test(`a push by ${algorithm} sets every tag it asks for, and says so`, async () => {
    await using registry = await openInProcess();
    await pushBlob(registry.handle, "a", EMPTY_JSON);
    const digest = digestOf(TEXT, algorithm);
    const tags = ["v1", "v1.2", "latest"];
    const response = await putManifest(registry.handle, "a", tagged(digest, tags), TEXT);
    expect(response.status).toBe(201);
    expect(response.headers.get("Docker-Content-Digest")).toBe(digest);
    expect(header(response, "OCI-Tag").split(", ")).toEqual(tags);
    expect(await tagsOf(registry.handle, "a")).toEqual(["latest", "v1", "v1.2"]);
    for (const tag of tags) {
      const pulled = await registry.handle(`/v2/a/manifests/${tag}`);
      // A tag keeps the algorithm that it was pushed with.
      expect(pulled.headers.get("Docker-Content-Digest")).toBe(digest);
      expect(await pulled.text()).toBe(TEXT);
    }
  });
}

test("a manifest pushed under sha512 is not known by its sha256", async () => {
  await using registry = await openInProcess();
  await pushBlob(registry.handle, "a", EMPTY_JSON);
  await putManifest(registry.handle, "a", digestOf(TEXT, "sha512"), TEXT);
  const other = await registry.handle(`/v2/a/manifests/${digestOf(TEXT)}`);
  await expectError(other, 404, "MANIFEST_UNKNOWN");
});

test("a hundred tags may be set by one push, one more may not", async () => {
  await using registry = await openInProcess();
  await pushBlob(registry.handle, "a", EMPTY_JSON);
  const tags = Array.from({ length: 101 }, (_, i) => `tag-${i.toString().padStart(3, "0")}`);
  const digest = digestOf(TEXT);
  const refused = await putManifest(registry.handle, "a", tagged(digest, tags), TEXT);
  await expectError(refused, 414, "UNSUPPORTED");
  const pulled = await registry.handle(`/v2/a/manifests/${digest}`);
  await expectError(pulled, 404, "MANIFEST_UNKNOWN");
  const taken = await putManifest(registry.handle, "a", tagged(digest, tags.slice(1)), TEXT);
  expect(taken.status).toBe(201);
  expect(await tagsOf(registry.handle, "a")).toEqual(tags.slice(1));
});

test("the same tag twice is one", async () => {
  await using registry = await openInProcess();
  await pushBlob(registry.handle, "a", EMPTY_JSON);
  const path = tagged(digestOf(TEXT), ["v1", "v1"]);
  const response = await putManifest(registry.handle, "a", path, TEXT);
  expect(response.headers.get("OCI-Tag")).toBe("v1");
});

test("one malformed tag refuses the push, and no tag is set", async () => {
  await using registry = await openInProcess();
  await pushBlob(registry.handle, "a", EMPTY_JSON);
  for (const tag of ["-x", "", "a/b", "a:b", "x".repeat(129)]) {
    const path = tagged(digestOf(TEXT), ["good", tag]);
    const refused = await putManifest(registry.handle, "a", path, TEXT);
    await expectError(refused, 400, "MANIFEST_INVALID");
  }
  expect((await registry.handle("/v2/a/manifests/good")).status).toBe(404);
});

test("tags in the query of a push by tag change nothing", async () => {
  await using registry = await openInProcess();
  await pushBlob(registry.handle, "a", EMPTY_JSON);
  const response = await putManifest(registry.handle, "a", "v1?tag=v2", TEXT);
  expect(response.headers.has("OCI-Tag")).toBe(false);
  expect(await tagsOf(registry.handle, "a")).toEqual(["v1"]);
});

test("tags are moved by it as by a push of each", async () => {
  await using registry = await openInProcess();
  await pushBlob(registry.handle, "a", EMPTY_JSON);
  await pushManifest(registry.handle, "a", "v1", imageOf([], { annotations: { old: "yes" } }));
  await putManifest(registry.handle, "a", tagged(digestOf(TEXT), ["v1"]), TEXT);
  expect(await (await registry.handle("/v2/a/manifests/v1")).text()).toBe(TEXT);
});
