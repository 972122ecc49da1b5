import { expect, test } from "bun:test";
import { openInProcess } from "../support/in-process.ts";
import {
  descriptorOf,
  digestOf,
  EMPTY_JSON,
  imageOf,
  indexOf,
  OCI_IMAGE,
  OCI_INDEX,
} from "./support/content.ts";
import { expectError } from "./support/errors.ts";
import { pushBlob, pushImage, pushManifest, tagsOf, type Handle } from "./support/requests.ts";

async function remove(handle: Handle, path: string): Promise<Response> {
  return handle(`/v2/${path}`, { method: "DELETE" });
}

test("deleting a tag leaves the manifest and its other tags", async () => {
  await using registry = await openInProcess();
  const { text, digest } = await pushImage(registry.handle, "a", "v1");
  await pushManifest(registry.handle, "a", "v2", text);
  expect((await remove(registry.handle, "a/manifests/v1")).status).toBe(202);
  const gone = await registry.handle("/v2/a/manifests/v1");
  await expectError(gone, 404, "MANIFEST_UNKNOWN");
  for (const reference of ["v2", digest]) {
    expect((await registry.handle(`/v2/a/manifests/${reference}`)).status).toBe(200);
  }
  expect(await tagsOf(registry.handle, "a")).toEqual(["v2"]);
  await expectError(await remove(registry.handle, "a/manifests/v1"), 404, "MANIFEST_UNKNOWN");
});

for (const count of [1, 2, 20, 21, 150]) {
  test(`deleting a manifest hides all its ${count} tags at once, and no other`, async () => {
    await using registry = await openInProcess();
    const { digest, text } = await pushImage(registry.handle, "a", "t0");
    const other = await pushImage(registry.handle, "a", "other");
    for (let i = 1; i < count; i++) await pushManifest(registry.handle, "a", `t${i}`, text);
    expect((await remove(registry.handle, `a/manifests/${digest}`)).status).toBe(202);
    expect(await tagsOf(registry.handle, "a")).toEqual(["other"]);
    for (let i = 0; i < count; i++) {
      expect((await registry.handle(`/v2/a/manifests/t${i}`)).status).toBe(404);
    }
    const again = await remove(registry.handle, `a/manifests/${digest}`);
    await expectError(again, 404, "MANIFEST_UNKNOWN");
    expect((await registry.handle(`/v2/a/manifests/${other.digest}`)).status).toBe(200);
  });
}

test("a manifest pushed again after its deletion does not bring its old tags back", async () => {
  await using registry = await openInProcess();
  const { digest, text } = await pushImage(registry.handle, "a", "t0");
  for (let i = 1; i < 50; i++) await pushManifest(registry.handle, "a", `t${i}`, text);
  await remove(registry.handle, `a/manifests/${digest}`);
  await pushManifest(registry.handle, "a", "new", text);
  expect(await tagsOf(registry.handle, "a")).toEqual(["new"]);
  expect((await registry.handle("/v2/a/manifests/t49")).status).toBe(404);
});

test("a tag that is deleted while its manifest is pushed under it exists or does not, never half", async () => {
  await using registry = await openInProcess();
  const { text, digest } = await pushImage(registry.handle, "a", "t");
  for (let round = 0; round < 30; round++) {
    await Promise.all([
      registry.handle(`/v2/a/manifests/${round % 2 === 0 ? "t" : digest}`, { method: "DELETE" }),
      pushManifest(registry.handle, "a", "t", text),
    ]);
    const { status } = await registry.handle("/v2/a/manifests/t");
    expect(await tagsOf(registry.handle, "a")).toEqual(status === 200 ? ["t"] : []);
    await pushManifest(registry.handle, "a", "t", text);
  }
});

test("a blob is deleted at once in its repository, and stays in others", async () => {
  await using registry = await openInProcess();
  const digest = await pushBlob(registry.handle, "a", "content");
  await pushBlob(registry.handle, "b", "content");
  expect((await remove(registry.handle, `a/blobs/${digest}`)).status).toBe(202);
  expect((await registry.handle(`/v2/a/blobs/${digest}`, { method: "HEAD" })).status).toBe(404);
  await expectError(await remove(registry.handle, `a/blobs/${digest}`), 404, "BLOB_UNKNOWN");
  expect((await registry.handle(`/v2/b/blobs/${digest}`)).status).toBe(200);
  await pushBlob(registry.handle, "a", "content");
  expect(await (await registry.handle(`/v2/a/blobs/${digest}`)).text()).toBe("content");
});

test("a blob that a manifest needs is not deleted before it", async () => {
  await using registry = await openInProcess();
  const image = await pushImage(registry.handle, "a", "v1");
  for (const blob of [image.layer, digestOf(EMPTY_JSON)]) {
    const refused = await remove(registry.handle, `a/blobs/${blob}`);
    const problem = await expectError(refused, 405, "DENIED");
    expect(problem.detail).toEqual({ manifests: [image.digest] });
  }
  // An untagged manifest needs its blobs as well.
  await remove(registry.handle, "a/manifests/v1");
  await expectError(await remove(registry.handle, `a/blobs/${image.layer}`), 405, "DENIED");
  await remove(registry.handle, `a/manifests/${image.digest}`);
  expect((await remove(registry.handle, `a/blobs/${image.layer}`)).status).toBe(202);
});

test("of a blob's deletion and a push that needs the blob one succeeds", async () => {
  await using registry = await openInProcess();
  await pushBlob(registry.handle, "a", EMPTY_JSON);
  for (let round = 0; round < 30; round++) {
    const layer = await pushBlob(registry.handle, "a", `layer ${round}`);
    const text = imageOf([`layer ${round}`]);
    const [deleted, pushed] = await Promise.all([
      remove(registry.handle, `a/blobs/${layer}`),
      registry.handle(`/v2/a/manifests/r${round}`, {
        method: "PUT",
        body: text,
        headers: { "Content-Type": OCI_IMAGE },
      }),
    ]);
    expect([
      [202, 404],
      [405, 201],
    ]).toContainEqual([deleted.status, pushed.status]);
    const blob = await registry.handle(`/v2/a/blobs/${layer}`);
    expect(blob.status).toBe(pushed.status === 201 ? 200 : 404);
  }
});

test("deleting an index leaves its children", async () => {
  await using registry = await openInProcess();
  const child = await pushImage(registry.handle, "a", "child");
  const index = indexOf([descriptorOf(OCI_IMAGE, child.text)]);
  await pushManifest(registry.handle, "a", "all", index, OCI_INDEX);
  await remove(registry.handle, `a/manifests/${digestOf(index)}`);
  expect((await registry.handle(`/v2/a/manifests/${child.digest}`)).status).toBe(200);
});

test("what does not exist cannot be deleted", async () => {
  await using registry = await openInProcess();
  await pushBlob(registry.handle, "a", "x");
  const digest = digestOf("none");
  const cases: readonly [string, string][] = [
    ["a/manifests/none", "MANIFEST_UNKNOWN"],
    [`a/manifests/${digest}`, "MANIFEST_UNKNOWN"],
    [`a/blobs/${digest}`, "BLOB_UNKNOWN"],
    ["none/manifests/v1", "NAME_UNKNOWN"],
    [`none/blobs/${digest}`, "NAME_UNKNOWN"],
  ];
  for (const [path, code] of cases)
    await expectError(await remove(registry.handle, path), 404, code);
});

test("where deleting is off, everything is refused with 405 and the reason, but an upload can be cancelled", async () => {
  await using registry = await openInProcess({ env: { HOLDFAST_LISTEN: "0.0.0.0:5000" } });
  const { digest, layer } = await pushImage(registry.handle, "a", "v1");
  for (const path of [
    "a/manifests/v1",
    `a/manifests/${digest}`,
    `a/blobs/${layer}`,
    "b/manifests/x",
  ]) {
    const problem = await expectError(await remove(registry.handle, path), 405, "UNSUPPORTED");
    expect(problem.message).toContain("auth: { anonymous: [pull, push, delete] }");
  }
  expect((await registry.handle("/v2/a/manifests/v1")).status).toBe(200);
  const opened = await registry.handle("/v2/a/blobs/uploads/", { method: "POST" });
  const location = opened.headers.get("Location") ?? "";
  expect((await registry.handle(location, { method: "DELETE" })).status).toBe(204);
});
