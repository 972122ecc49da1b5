import { expect, test } from "bun:test";
import { openInProcess } from "../support/in-process.ts";
import {
  bytesOf,
  descriptorOf,
  digestOf,
  EMPTY_JSON,
  imageOf,
  indexOf,
  OCI_IMAGE,
  OCI_INDEX,
} from "./support/content.ts";
import { expectError } from "./support/errors.ts";
import {
  openSession,
  patch,
  pushBlob,
  pushManifest,
  put,
  putManifest,
  streamed,
} from "./support/requests.ts";

/** An image of exactly so many bytes. */
function imageOfSize(size: number): string {
  const frame = imageOf([], { annotations: { pad: "" } }).length;
  return imageOf([], { annotations: { pad: "x".repeat(size - frame) } });
}

test("a manifest of 4 MiB is taken, one byte more is too large", async () => {
  await using registry = await openInProcess();
  await pushBlob(registry.handle, "a", EMPTY_JSON);
  await pushManifest(registry.handle, "a", "v1", imageOfSize(4_194_304));
  const refused = await putManifest(registry.handle, "a", "v2", imageOfSize(4_194_305));
  await expectError(refused, 413, "SIZE_INVALID");
});

test("a manifest without a length is cut off where it grows too large", async () => {
  await using registry = await openInProcess();
  let sent = 0;
  const endless = new ReadableStream<Uint8Array<ArrayBuffer>>({
    async pull(controller) {
      if (sent > 64 * 1_048_576) return controller.close();
      await Bun.sleep(0);
      sent += 262_144;
      controller.enqueue(new Uint8Array(262_144).fill(0x20));
    },
  });
  const headers = { "Content-Type": OCI_IMAGE };
  const init = { method: "PUT", body: endless, headers };
  const refused = await registry.handle("/v2/a/manifests/v1", init);
  await expectError(refused, 413, "SIZE_INVALID");
  expect(sent).toBeLessThan(6 * 1_048_576);
});

test("limits.manifestBytes holds for a body with a length and for one without", async () => {
  const env = { HOLDFAST_LIMITS_MANIFEST_BYTES: "2048" };
  await using registry = await openInProcess({ env });
  await pushBlob(registry.handle, "a", EMPTY_JSON);
  for (const [size, status] of [
    [2048, 201],
    [2049, 413],
  ] as const) {
    const text = imageOfSize(size);
    const headers = { "Content-Type": OCI_IMAGE };
    for (const body of [text, streamed(text.slice(0, 1000), text.slice(1000))]) {
      const response = await registry.handle("/v2/a/manifests/v1", {
        method: "PUT",
        body,
        headers,
      });
      expect(response.status).toBe(status);
    }
  }
});

test("limits.descriptors counts config, layers and children", async () => {
  const env = { HOLDFAST_LIMITS_DESCRIPTORS: "5" };
  await using registry = await openInProcess({ env });
  await pushBlob(registry.handle, "a", EMPTY_JSON);
  const four = Array.from({ length: 4 }, () => EMPTY_JSON);
  await pushManifest(registry.handle, "a", "v1", imageOf(four));
  const layers = await putManifest(registry.handle, "a", "v2", imageOf([...four, EMPTY_JSON]));
  await expectError(layers, 400, "MANIFEST_INVALID");
  const children = Array.from({ length: 6 }, (_, i) => descriptorOf(OCI_IMAGE, `${i}`));
  await pushManifest(registry.handle, "a", "v3", indexOf(children.slice(1)), OCI_INDEX);
  const headers = { "Content-Type": OCI_INDEX };
  const refused = await putManifest(registry.handle, "a", "v4", indexOf(children), headers);
  await expectError(refused, 400, "MANIFEST_INVALID");
});

test("an image of 127 layers, and an index of thousands, are taken with the limits as they are", async () => {
  await using registry = await openInProcess();
  await pushBlob(registry.handle, "a", EMPTY_JSON);
  const layers = Array.from({ length: 127 }, (_, i) => `layer ${i}`);
  for (const layer of layers) await pushBlob(registry.handle, "a", layer);
  await pushManifest(registry.handle, "a", "v1", imageOf(layers));
  const children = Array.from({ length: 9000 }, (_, i) => descriptorOf(OCI_IMAGE, `${i}`));
  await pushManifest(registry.handle, "a", "v2", indexOf(children), OCI_INDEX);
  expect((await registry.handle("/v2/a/manifests/v2")).status).toBe(200);
});

test("limits.blobBytes holds on every way into the registry", async () => {
  const env = { HOLDFAST_LIMITS_BLOB_BYTES: "100000" };
  await using registry = await openInProcess({ env });
  await pushBlob(registry.handle, "a", bytesOf(100_000));
  const large = bytesOf(100_001);
  const digest = digestOf(large);
  const posted = await registry.handle(`/v2/a/blobs/uploads/?digest=${digest}`, {
    method: "POST",
    body: large,
  });
  await expectError(posted, 413, "SIZE_INVALID");
  const whole = await openSession(registry.handle, "a");
  await expectError(
    await put(registry.handle, `${whole}?digest=${digest}`, large),
    413,
    "SIZE_INVALID",
  );
  const chunked = await openSession(registry.handle, "a");
  const body = streamed(large.slice(0, 50_000), large.slice(50_000));
  await expectError(await registry.handle(chunked, { method: "PATCH", body }), 413, "SIZE_INVALID");
  const grown = await openSession(registry.handle, "a");
  expect((await patch(registry.handle, grown, large.slice(0, 100_000))).status).toBe(202);
  await expectError(await patch(registry.handle, grown, "x"), 413, "SIZE_INVALID");
});

test("more bodies at once than limits.concurrentUploads are told to come back, before a byte is read", async () => {
  const env = { HOLDFAST_LIMITS_CONCURRENT_UPLOADS: "2", HOLDFAST_WORKERS: "1" };
  await using registry = await openInProcess({ env, single: true });
  await pushBlob(registry.handle, "a", EMPTY_JSON);
  let release = (): void => {};
  const gate = new Promise<void>((resolve) => (release = resolve));
  const waiting = [1, 2].map(async () => {
    const location = await openSession(registry.handle, "a");
    const body = new ReadableStream<Uint8Array<ArrayBuffer>>({
      async start(controller) {
        controller.enqueue(bytesOf(10));
        await gate;
        controller.close();
      },
    });
    return registry.handle(location, { method: "PATCH", body });
  });
  await Bun.sleep(20);
  const third = await openSession(registry.handle, "a");
  for (const refused of [
    await patch(registry.handle, third, "x"),
    await putManifest(registry.handle, "a", "v1", imageOf([])),
  ]) {
    expect(Number(refused.headers.get("Retry-After"))).toBeGreaterThan(0);
    await expectError(refused, 429, "TOOMANYREQUESTS");
  }
  expect((await registry.handle("/v2/a/tags/list")).status).toBe(200);
  release();
  for (const response of await Promise.all(waiting)) expect(response.status).toBe(202);
  expect((await patch(registry.handle, third, "x")).status).toBe(202);
});
