import { afterEach, beforeEach, describe, expect, spyOn, test } from "bun:test";
import fs from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { collected, digestOf, randomBytes } from "../../blobs/conformance-tools.ts";
import { openFileStore } from "../../blobs/file/store.ts";
import type { PlacedStore } from "../../blobs/placed.ts";
import type { Locator } from "../../blobs/port.ts";
import { copiesHandlers, type CopiesHandlers } from "./serve.ts";
import { purgeShadows } from "./serve-uploads.ts";
import { shadowOf } from "./shadow-names.ts";

describe("the serving side of copies", () => {
  let directory: string;
  let local: PlacedStore;
  let handlers: CopiesHandlers;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "holdfast-serve-"));
    local = await openFileStore({ directory });
    handlers = copiesHandlers(local);
  });
  afterEach(async () => {
    await local.close();
    await rm(directory, { recursive: true });
  });

  const ask = async (
    kind: keyof CopiesHandlers,
    method: string,
    path: string,
    init: RequestInit = {},
  ): Promise<Response> => {
    const request = new Request(`https://peer/v1/${kind}/${path}`, { method, ...init });
    return await handlers[kind](request, path.split("?", 1)[0] ?? "", { node: "n2" });
  };
  const stream = (bytes: Uint8Array<ArrayBuffer>) => new Blob([bytes]).stream();
  const filesIn = () =>
    fs.readdirSync(directory, { recursive: true, withFileTypes: true }).filter((e) => e.isFile());

  test("a blob is put, told of, given in parts and deleted", async () => {
    for (const size of [0, 10, 300_000]) {
      const bytes = randomBytes(size);
      const locator = local.newLocator(digestOf(bytes));
      expect((await ask("blobs", "GET", locator)).status).toBe(404);
      expect((await ask("blobs", "PUT", locator, { body: stream(bytes) })).status).toBe(201);
      expect((await ask("blobs", "PUT", locator, { body: bytes })).status).toBeOneOf([200, 201]);
      expect((await ask("blobs", "HEAD", locator)).headers.get("content-length")).toBe(`${size}`);
      expect(await (await ask("blobs", "GET", locator)).bytes()).toEqual(bytes);
      if (size > 0) {
        const part = await ask("blobs", "GET", locator, { headers: { range: "bytes=2-5" } });
        expect(part.status).toBe(206);
        expect(part.headers.get("content-range")).toBe(`bytes 2-5/${size}`);
        expect(await part.bytes()).toEqual(bytes.slice(2, 6));
      }
      const beyond = { headers: { range: `bytes=${size}-` } };
      expect((await ask("blobs", "GET", locator, beyond)).status).toBe(416);
      const other = local.newLocator(digestOf(bytes));
      const has = await ask("blobs", "POST", "has", {
        body: JSON.stringify([locator, other, "x"]),
      });
      expect(await has.json()).toEqual([size, null, null]);
      expect((await ask("blobs", "DELETE", locator)).status).toBe(204);
      expect((await ask("blobs", "DELETE", locator)).status).toBe(204);
      expect(filesIn()).toEqual([]);
    }
  });

  test("a blob that is there, maybe not durably yet, is made durable before it is said to be here", async () => {
    for (const size of [10, 300_000]) {
      const bytes = randomBytes(size);
      const locator = local.newLocator(digestOf(bytes));
      const path = join(directory, locator);
      fs.mkdirSync(dirname(path), { recursive: true });
      // As another request leaves it between its rename and its fsync.
      fs.writeFileSync(path, bytes);
      const commit = `${shadowOf("x")}/commit?locator=${locator}&size=${size}`;
      const put = { body: bytes, headers: { "content-length": `${size}` } };
      for (const again of [
        () => ask("blobs", "PUT", locator, put),
        () => ask("uploads", "POST", commit),
      ]) {
        const synced: string[] = [];
        const real = fs.fsync;
        const spy = spyOn(fs, "fsync").mockImplementation(((
          fd: number,
          done: fs.NoParamCallback,
        ) => {
          const what = fs.readlinkSync(`/proc/self/fd/${fd}`);
          real(fd, (error) => {
            synced.push(what);
            done(error);
          });
        }) as typeof fs.fsync);
        try {
          expect((await again()).status).toBe(200);
          expect(synced.sort()).toEqual([dirname(path), path]);
        } finally {
          spy.mockRestore();
        }
      }
    }
  });

  test("bytes that do not have the locator's digest are refused, and nothing is kept", async () => {
    for (const size of [10, 300_000]) {
      const locator = local.newLocator(digestOf(randomBytes(5)));
      const answer = await ask("blobs", "PUT", locator, {
        body: randomBytes(size),
        headers: { "content-length": `${size}` },
      });
      expect(answer.status).toBe(422);
      const path = shadowOf("x");
      await ask("uploads", "PATCH", `${path}?offset=0&algorithm=sha256`, {
        body: randomBytes(size),
      });
      const commit = `${path}/commit?locator=${locator}&size=${size}`;
      expect((await ask("uploads", "POST", commit)).status).toBe(422);
      expect(filesIn()).toEqual([]);
    }
  });

  test("what is no locator, no shadow and no list is refused", async () => {
    const hex = "ab".repeat(32);
    for (const path of ["x", "../x", `blobs/sha256/ab/${hex}`, "uploads/x", ""]) {
      expect((await ask("blobs", "PUT", path, { body: "x" })).status).toBe(400);
      expect((await ask("blobs", "DELETE", path)).status).toBe(400);
    }
    for (const path of ["x", "..", "shadow-../x", "heal-1", ""]) {
      const answer = await ask("uploads", "PATCH", `${path}?offset=0&algorithm=sha256`);
      expect(answer.status).toBe(400);
    }
    for (const list of [{}, Array.from({ length: 1001 }, () => "x")]) {
      expect((await ask("blobs", "POST", "has", { body: JSON.stringify(list) })).status).toBe(400);
    }
    const adopted = `docker/registry/v2/blobs/sha256/ab/${hex}/data` as Locator;
    expect((await ask("blobs", "GET", adopted)).status).toBe(404);
    expect(filesIn()).toEqual([]);
  });

  test("an upload goes on where it ends, nowhere else, and begins anew at 0", async () => {
    const path = shadowOf("x");
    const bytes = randomBytes(200_000);
    const patch = (offset: number, body: Uint8Array<ArrayBuffer>) =>
      ask("uploads", "PATCH", `${path}?offset=${offset}&algorithm=sha256`, { body });
    await patch(0, randomBytes(100));
    expect(await (await patch(0, bytes.slice(0, 150_000))).json()).toEqual({ size: 150_000 });
    expect(await (await patch(150_000, bytes.slice(150_000))).json()).toEqual({ size: 200_000 });
    const locator = local.newLocator(digestOf(bytes));
    const commit = `${path}/commit?locator=${encodeURIComponent(locator)}&size=200000`;
    expect((await ask("uploads", "POST", commit)).status).toBe(201);
    expect((await ask("uploads", "POST", commit)).status).toBe(200);
    expect(await local.read(locator, 200_000)).toEqual(bytes);
    await patch(0, bytes.slice());
    expect((await patch(7, bytes.slice())).status).toBe(409);
    expect(filesIn().length).toBe(1);
  });

  test("shadows that nobody has touched for long are purged, and nothing else", async () => {
    await ask("uploads", "PATCH", `${shadowOf("x")}?offset=0&algorithm=sha256`, { body: "x" });
    const own = await local.upload("an-own-one", "sha256");
    await own.write(randomBytes(5));
    await own.suspend();
    expect(await purgeShadows(local, Date.now() - 60_000)).toBe(0);
    expect(await purgeShadows(local, Date.now() + 60_000)).toBe(1);
    expect((await collected(local.uploads())).map(({ id }) => id)).toEqual(["an-own-one"]);
  });
});
