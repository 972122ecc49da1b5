import { expect, test } from "bun:test";
import { openInProcess } from "../support/in-process.ts";
import {
  descriptorOf,
  digestOf,
  DOCKER_IMAGE,
  EMPTY_JSON,
  imageOf,
  indexOf,
  OCI_CONFIG,
  OCI_IMAGE,
  OCI_INDEX,
  OCI_LAYER,
} from "./support/content.ts";
import { errorsOf, expectError } from "./support/errors.ts";
import { pushBlob, pushImage, pushManifest, putManifest } from "./support/requests.ts";

test("a push says where the manifest is, and by which digest", async () => {
  await using registry = await openInProcess();
  await pushBlob(registry.handle, "a", EMPTY_JSON);
  const text = imageOf([]);
  for (const reference of ["v1", digestOf(text)]) {
    const response = await putManifest(registry.handle, "a", reference, text);
    expect(response.status).toBe(201);
    expect(response.headers.get("Location")).toBe(`/v2/a/manifests/${digestOf(text)}`);
    expect(response.headers.get("Docker-Content-Digest")).toBe(digestOf(text));
    expect(response.headers.has("OCI-Subject")).toBe(false);
    expect(response.headers.has("OCI-Tag")).toBe(false);
  }
});

test("a manifest by a digest that is not its own is refused", async () => {
  await using registry = await openInProcess();
  await pushBlob(registry.handle, "a", EMPTY_JSON);
  const path = digestOf("something else");
  const refused = await putManifest(registry.handle, "a", path, imageOf([]));
  await expectError(refused, 400, "DIGEST_INVALID");
});

test("every blob that a manifest needs and the repository lacks is named", async () => {
  await using registry = await openInProcess();
  await pushBlob(registry.handle, "a", "one");
  await pushBlob(registry.handle, "elsewhere", "two");
  const refused = await putManifest(registry.handle, "a", "v1", imageOf(["one", "two", "three"]));
  const errors = await errorsOf(refused);
  expect(refused.status).toBe(404);
  expect(errors.map(({ code }) => code)).toEqual(errors.map(() => "MANIFEST_BLOB_UNKNOWN"));
  const named = errors.map(({ detail }) => (detail as { digest: string }).digest);
  expect(named).toEqual([EMPTY_JSON, "two", "three"].map((content) => digestOf(content)));
  expect((await registry.handle("/v2/a/manifests/v1")).status).toBe(404);
});

test("layers that are fetched from elsewhere need not be there", async () => {
  await using registry = await openInProcess();
  await pushBlob(registry.handle, "a", EMPTY_JSON);
  const layers = [
    "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
  ].map((type) => ({ ...descriptorOf(type, type), urls: ["https://elsewhere.test/layer"] }));
  await pushManifest(registry.handle, "a", "v1", imageOf([], { layers }));
});

test("a manifest without layers and an index without manifests are whole", async () => {
  await using registry = await openInProcess();
  await pushBlob(registry.handle, "a", EMPTY_JSON);
  await pushManifest(registry.handle, "a", "image", imageOf([]));
  await pushManifest(registry.handle, "a", "index", indexOf([]), OCI_INDEX);
});

test("a list that Go's encoder wrote as null is an empty one", async () => {
  await using registry = await openInProcess();
  await pushBlob(registry.handle, "a", EMPTY_JSON);
  await pushManifest(registry.handle, "a", "image", imageOf([], { layers: null }));
  await pushManifest(registry.handle, "a", "index", indexOf([], { manifests: null }), OCI_INDEX);
});

test("Docker's media types are kept as they are", async () => {
  await using registry = await openInProcess();
  await pushBlob(registry.handle, "a", EMPTY_JSON);
  const text = imageOf([], { mediaType: DOCKER_IMAGE });
  await pushManifest(registry.handle, "a", "v1", text, DOCKER_IMAGE);
  const list = "application/vnd.docker.distribution.manifest.list.v2+json";
  const child = descriptorOf(DOCKER_IMAGE, text);
  await pushManifest(registry.handle, "a", "all", indexOf([child], { mediaType: list }), list);
  for (const [tag, type] of [
    ["v1", DOCKER_IMAGE],
    ["all", list],
  ] as const) {
    const { headers } = await registry.handle(`/v2/a/manifests/${tag}`);
    expect(headers.get("Content-Type")).toBe(type);
  }
});

test("manifests of types not known to us are kept, with all their fields", async () => {
  await using registry = await openInProcess();
  const type = "application/vnd.example.future.v7+json";
  const text = JSON.stringify({ anything: [1, { goes: null }], mediaType: type });
  await pushManifest(registry.handle, "a", "v1", text, type);
  const response = await registry.handle("/v2/a/manifests/v1");
  expect(response.headers.get("Content-Type")).toBe(type);
  expect(await response.text()).toBe(text);
});

test("unknown fields, media types and annotations pass untouched", async () => {
  await using registry = await openInProcess();
  await pushBlob(registry.handle, "a", "data");
  const more = {
    config: { ...descriptorOf("application/x-unheard-of", "data"), platform: { os: "plan9" } },
    annotations: { "": "", "org.example": "ü€😀" },
    "org.example.field": { deep: [[[true]]] },
  };
  const text = imageOf([], more);
  await pushManifest(registry.handle, "a", "v1", text);
  expect(await (await registry.handle("/v2/a/manifests/v1")).text()).toBe(text);
});

test("a descriptor's data is kept, and none is added", async () => {
  await using registry = await openInProcess();
  await pushBlob(registry.handle, "a", EMPTY_JSON);
  const config = { ...descriptorOf(OCI_CONFIG, EMPTY_JSON), data: "e30=" };
  for (const text of [imageOf([], { config }), imageOf([])]) {
    await pushManifest(registry.handle, "a", "v1", text);
    expect(await (await registry.handle("/v2/a/manifests/v1")).text()).toBe(text);
  }
});

test("descriptors in digest algorithms not known to us pass where nothing has to be looked up", async () => {
  await using registry = await openInProcess();
  await pushBlob(registry.handle, "a", EMPTY_JSON);
  const child = { mediaType: OCI_IMAGE, digest: `blake3:${"0".repeat(64)}`, size: 7 };
  await pushManifest(registry.handle, "a", "v1", indexOf([child]), OCI_INDEX);
});

test("a mediaType that the Content-Type contradicts is refused as MANIFEST_INVALID", async () => {
  await using registry = await openInProcess();
  await pushBlob(registry.handle, "a", EMPTY_JSON);
  const headers = { "Content-Type": DOCKER_IMAGE };
  const refused = await putManifest(registry.handle, "a", "v1", imageOf([]), headers);
  await expectError(refused, 400, "MANIFEST_INVALID");
});

test("the same bytes cannot be two types in one repository", async () => {
  await using registry = await openInProcess();
  await pushBlob(registry.handle, "a", EMPTY_JSON);
  const text = imageOf([], { mediaType: undefined });
  await pushManifest(registry.handle, "a", "v1", text, OCI_IMAGE);
  const headers = { "Content-Type": DOCKER_IMAGE };
  const refused = await putManifest(registry.handle, "a", "v2", text, headers);
  await expectError(refused, 400, "MANIFEST_INVALID");
});

test("Docker's schema 1 and what is no JSON type are refused as MANIFEST_INVALID", async () => {
  await using registry = await openInProcess();
  await pushBlob(registry.handle, "a", EMPTY_JSON);
  for (const type of [
    "application/vnd.docker.distribution.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
    "application/json",
    "text/html",
    "image/svg+json",
  ]) {
    const text = imageOf([], { mediaType: undefined });
    const refused = await putManifest(registry.handle, "a", "v1", text, { "Content-Type": type });
    await expectError(refused, 400, "MANIFEST_INVALID");
  }
});

test("a document that is both an image and an index is refused", async () => {
  await using registry = await openInProcess();
  await pushBlob(registry.handle, "a", EMPTY_JSON);
  const both = imageOf([], { manifests: [] });
  await expectError(await putManifest(registry.handle, "a", "v1", both), 400, "MANIFEST_INVALID");
  for (const more of [{ layers: [] }, { config: descriptorOf(OCI_CONFIG, EMPTY_JSON) }]) {
    const headers = { "Content-Type": OCI_INDEX };
    const refused = await putManifest(registry.handle, "a", "v1", indexOf([], more), headers);
    await expectError(refused, 400, "MANIFEST_INVALID");
  }
});

test("a malformed tag is refused on push and unknown on pull", async () => {
  await using registry = await openInProcess();
  await pushBlob(registry.handle, "a", EMPTY_JSON);
  for (const tag of [".v1", "-v1", "v%201", "v+1", "ü", "x".repeat(129), "a%2Fb", "%00"]) {
    const refused = await putManifest(registry.handle, "a", tag, imageOf([]));
    await expectError(refused, 400, "MANIFEST_INVALID");
    const pulled = await registry.handle(`/v2/a/manifests/${tag}`);
    await expectError(pulled, 404, "MANIFEST_UNKNOWN");
  }
  for (const tag of ["_", "0", "x".repeat(128), "A.b_c-D", "latest"]) {
    await pushManifest(registry.handle, "a", tag, imageOf([]));
  }
});

test("an index may name manifests that are not there, unless it is told to reject them", async () => {
  const missing = descriptorOf(OCI_IMAGE, "missing");
  await using lenient = await openInProcess();
  await pushManifest(lenient.handle, "a", "v1", indexOf([missing]), OCI_INDEX);
  const env = { HOLDFAST_VALIDATION_MISSING_MANIFESTS: "reject" };
  await using strict = await openInProcess({ env });
  const { text } = await pushImage(strict.handle, "a", "child");
  const headers = { "Content-Type": OCI_INDEX };
  const refused = await putManifest(strict.handle, "a", "v1", indexOf([missing]), headers);
  await expectError(refused, 404, "MANIFEST_BLOB_UNKNOWN");
  const whole = indexOf([descriptorOf(OCI_IMAGE, text)]);
  await pushManifest(strict.handle, "a", "v1", whole, OCI_INDEX);
});

test("BuildKit's cache index, whose children are blobs, is taken and holds its blobs", async () => {
  await using registry = await openInProcess({
    env: { HOLDFAST_VALIDATION_MISSING_MANIFESTS: "reject" },
  });
  const cacheConfig = "application/vnd.buildkit.cacheconfig.v0";
  await pushBlob(registry.handle, "a", "cache layer");
  await pushBlob(registry.handle, "a", "cache config");
  const text = indexOf([
    descriptorOf(OCI_LAYER, "cache layer"),
    descriptorOf(cacheConfig, "cache config"),
  ]);
  await pushManifest(registry.handle, "a", "cache", text, OCI_INDEX);
  const path = `/v2/a/blobs/${digestOf("cache layer")}`;
  await expectError(await registry.handle(path, { method: "DELETE" }), 405, "DENIED");
  expect(await (await registry.handle(path)).text()).toBe("cache layer");
});

test("an index with one, many, nested and repeated children is taken", async () => {
  await using registry = await openInProcess();
  const images = [];
  for (let i = 0; i < 10; i++) images.push((await pushImage(registry.handle, "a", `v${i}`)).text);
  const children = images.map((text) => descriptorOf(OCI_IMAGE, text));
  const many = indexOf([...children, ...children]);
  await pushManifest(registry.handle, "a", "many", many, OCI_INDEX);
  const nested = indexOf([descriptorOf(OCI_INDEX, many)]);
  await pushManifest(registry.handle, "a", "nested", nested, OCI_INDEX);
  expect(await (await registry.handle("/v2/a/manifests/nested")).text()).toBe(nested);
});
