import { expect, test } from "bun:test";
import type { BlobStore } from "../../src/blobs/port.ts";
import { keys } from "../../src/meta/keys.ts";
import type { BlobRecord } from "../../src/registry/records.ts";
import { openInProcess, type InProcess } from "../support/in-process.ts";
import { storesOfSuite } from "../support/shared-place.ts";
import { bytesOf, digestOf, EMPTY_JSON } from "./support/content.ts";
import { expectError } from "./support/errors.ts";
import { openSession, patch, pushBlob, pushImage, pushManifest, put } from "./support/requests.ts";
import { changeBytes, cutBytes, loseBytes, TestClock } from "./support/stores.ts";

async function headOf({ handle }: InProcess, path: string): Promise<number> {
  return (await handle(path, { method: "HEAD" })).status;
}

/** Above 64 KiB nothing is kept in memory. */
for (const size of [100, 200_000]) {
  for (const pulled of [false, true]) {
    test(`a ${pulled ? "pulled " : ""}blob of ${size} bytes that is lost on disk is missing to HEAD, and a push brings it back`, async () => {
      await using registry = await openInProcess();
      const content = bytesOf(size);
      const digest = await pushBlob(registry.handle, "a", content);
      const path = `/v2/a/blobs/${digest}`;
      if (pulled) await (await registry.handle(path)).arrayBuffer();
      await loseBytes(registry, digest);
      // A client that is told "exists" would never send it again.
      expect(await headOf(registry, path)).toBe(404);
      expect(registry.alarms.length).toBeGreaterThan(0);
      await pushBlob(registry.handle, "a", content);
      expect(await headOf(registry, path)).toBe(200);
      const got = await registry.handle(path);
      expect(new Uint8Array(await got.arrayBuffer())).toEqual(content);
      const { locator } = (await recordOf(registry, digest)).value;
      expect(await registry.blobs.stat(locator)).toBe(size);
    });
  }

  test(`a blob of ${size} bytes that was lost is brought back by a chunked push`, async () => {
    await using registry = await openInProcess();
    const content = bytesOf(size);
    const digest = await pushBlob(registry.handle, "a", content);
    await loseBytes(registry, digest);
    const location = await openSession(registry.handle, "a");
    await patch(registry.handle, location, content);
    expect((await put(registry.handle, `${location}?digest=${digest}`, "")).status).toBe(201);
    expect(await headOf(registry, `/v2/a/blobs/${digest}`)).toBe(200);
  });

  test(`a blob of ${size} bytes that was cut short on disk is not served, and a push brings it back`, async () => {
    await using registry = await openInProcess();
    const content = bytesOf(size);
    const digest = await pushBlob(registry.handle, "a", content);
    await cutBytes(registry, digest);
    const path = `/v2/a/blobs/${digest}`;
    await expectError(await registry.handle(path), 404, "BLOB_UNKNOWN");
    expect(await headOf(registry, path)).toBe(404);
    await pushBlob(registry.handle, "a", content);
    expect((await registry.handle(path)).status).toBe(200);
  });

  test(`unverified bytes of a blob of ${size} bytes are checked before they are served`, async () => {
    await using registry = await openInProcess();
    for (const wrong of [false, true]) {
      const content = bytesOf(size, wrong ? 2 : 3);
      const digest = await pushBlob(registry.handle, "a", content);
      await markUnverified(registry, digest);
      if (wrong) await changeBytes(registry, digest, bytesOf(size, 4));
      const path = `/v2/a/blobs/${digest}`;
      const got = await registry.handle(path);
      if (wrong) await expectError(got, 404, "BLOB_UNKNOWN");
      else expect(new Uint8Array(await got.arrayBuffer())).toEqual(content);
      const { value } = await recordOf(registry, digest);
      expect(value.verified).toBe(!wrong);
      await pushBlob(registry.handle, "a", content);
      expect((await registry.handle(path)).status).toBe(200);
    }
  });
}

// A bucket's small blobs are not hashed when they are read.
if (storesOfSuite() === undefined) {
  test("a small blob that was damaged on disk is not served, and a push brings it back", async () => {
    await using registry = await openInProcess();
    const content = bytesOf(1000);
    const digest = await pushBlob(registry.handle, "a", content);
    await changeBytes(registry, digest, content.slice(0, 10).reverse());
    const path = `/v2/a/blobs/${digest}`;
    await expectError(await registry.handle(path), 404, "BLOB_UNKNOWN");
    expect(await headOf(registry, path)).toBe(404);
    await pushBlob(registry.handle, "a", content);
    const got = await registry.handle(path);
    expect(new Uint8Array(await got.arrayBuffer())).toEqual(content);
  });
}

for (const pulled of [false, true]) {
  test(`a ${pulled ? "pulled " : ""}manifest that is lost on disk is missing to HEAD, and a push brings it and its tags back`, async () => {
    await using registry = await openInProcess();
    const { digest, text } = await pushImage(registry.handle, "a", "v1");
    if (pulled) await (await registry.handle("/v2/a/manifests/v1")).text();
    await loseBytes(registry, digest);
    for (const reference of ["v1", digest]) {
      expect(await headOf(registry, `/v2/a/manifests/${reference}`)).toBe(404);
    }
    await pushManifest(registry.handle, "a", digest, text);
    for (const reference of ["v1", digest]) {
      expect(await headOf(registry, `/v2/a/manifests/${reference}`)).toBe(200);
      const got = await registry.handle(`/v2/a/manifests/${reference}`);
      expect(await got.text()).toBe(text);
    }
  });
}

test("a repeated closing PUT for a blob whose bytes are lost is not taken for a success", async () => {
  await using registry = await openInProcess();
  const location = await openSession(registry.handle, "a");
  const path = `${location}?digest=${digestOf("content")}`;
  await put(registry.handle, path, "content");
  await loseBytes(registry, digestOf("content"));
  await expectError(await put(registry.handle, path, ""), 400, "DIGEST_INVALID");
  expect(await headOf(registry, `/v2/a/blobs/${digestOf(EMPTY_JSON)}`)).toBe(404);
});

const withStore =
  (change: (blobs: BlobStore) => Partial<BlobStore>) =>
  (blobs: BlobStore): BlobStore => {
    const changed = change(blobs);
    return new Proxy(blobs, {
      get(target, name) {
        const value: unknown = Reflect.get(changed, name) ?? Reflect.get(target, name);
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
  };

test("a repeated closing PUT for a blob that has too few copies for now is to come again, and succeeds then", async () => {
  let isDurable = true;
  const wrapBlobs = withStore(() => ({ isDurable: async () => isDurable }));
  await using registry = await openInProcess({ wrapBlobs });
  const location = await openSession(registry.handle, "a");
  const content = bytesOf(100_000);
  const path = `${location}?digest=${digestOf(content)}`;
  expect((await put(registry.handle, path, content)).status).toBe(201);
  isDurable = false;
  const again = await put(registry.handle, path, "");
  expect([again.status, again.headers.get("Retry-After")]).toEqual([503, "1"]);
  isDurable = true;
  expect((await put(registry.handle, path, "")).status).toBe(201);
});

test("a mount without a source asks the stores once for a blob that many repositories show", async () => {
  const answers: boolean[] = [];
  let isDurable = true;
  const wrapBlobs = withStore(() => ({
    isDurable: async () => {
      answers.push(isDurable);
      return isDurable;
    },
  }));
  await using registry = await openInProcess({ wrapBlobs });
  for (const name of ["a", "b", "c"]) await pushBlob(registry.handle, name, "content");
  isDurable = false;
  answers.length = 0;
  const path = `/v2/d/blobs/uploads/?mount=${digestOf("content")}`;
  expect((await registry.handle(path, { method: "POST" })).status).toBe(202);
  expect(answers).toEqual([false]);
});

test("a blob whose record comes to name other bytes while it is pulled is served from those", async () => {
  const content = bytesOf(200_000);
  const digest = digestOf(content);
  let replace: (() => Promise<void>) | undefined;
  const wrapBlobs = withStore((blobs) => ({
    open: async (...asked) => {
      const turn = replace;
      replace = undefined;
      await turn?.();
      return blobs.open(...asked);
    },
  }));
  await using registry = await openInProcess({ wrapBlobs });
  await pushBlob(registry.handle, "a", content);
  const { value } = await recordOf(registry, digest);
  const other = await registry.blobs.put(digest as Parameters<BlobStore["put"]>[0], content);
  replace = async () => {
    const put = [{ key: keys.blob(digest), value: JSON.stringify({ ...value, ...other }) }];
    await registry.meta.commit({ put });
    await registry.blobs.delete(value.locator);
  };
  const got = await registry.handle(`/v2/a/blobs/${digest}`);
  expect([got.status, registry.alarms]).toEqual([200, []]);
  expect(new Uint8Array(await got.arrayBuffer())).toEqual(content);
  await loseBytes(registry, digest);
  await expectError(await registry.handle(`/v2/a/blobs/${digest}`), 404, "BLOB_UNKNOWN");
});

test("bytes that a push has replaced stay for an hour for those who read them", async () => {
  const clock = new TestClock();
  const wrapBlobs = withStore(() => ({ isDurable: async () => false }));
  await using registry = await openInProcess({ clock, wrapBlobs });
  const content = bytesOf(200_000);
  const digest = await pushBlob(registry.handle, "a", content);
  const { locator } = (await recordOf(registry, digest)).value;
  await pushBlob(registry.handle, "a", content);
  expect((await recordOf(registry, digest)).value.locator).not.toBe(locator);
  const sweep = () => registry.registry.sweepTrash(new AbortController().signal);
  expect(await sweep()).toBe(0);
  expect(await registry.blobs.stat(locator)).toBe(200_000);
  clock.advance(3_600_000);
  expect(await sweep()).toBe(1);
  expect(await registry.blobs.stat(locator)).toBeUndefined();
});

async function recordOf(
  { meta }: InProcess,
  digest: string,
): Promise<{ readonly value: BlobRecord; readonly version: number }> {
  const { entries } = await meta.get([keys.blob(digest)]);
  const entry = entries[0];
  if (entry === undefined) throw new Error(`no record of ${digest}`);
  return { value: JSON.parse(entry.value) as BlobRecord, version: entry.version };
}

/** As a blob stands that was taken over from another registry without reading it. */
async function markUnverified(registry: InProcess, digest: string): Promise<void> {
  const { value } = await recordOf(registry, digest);
  const unverified = JSON.stringify({ ...value, verified: false });
  await registry.meta.commit({ put: [{ key: keys.blob(digest), value: unverified }] });
}
