import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  collected,
  digestOf,
  failureOf,
  newId,
  randomBytes,
  writeAll,
} from "../conformance-tools.ts";
import { openUnnamed } from "../../base/unnamed-file.ts";
import { encodedOf } from "../../oci/digest.ts";
import { BlobStoreFull, BlobStoreUnavailable, DigestMismatch, UploadBusy } from "../port.ts";
import { canMount, mountNew, unmount } from "./mount-fixture.ts";
import { openFileStore } from "./store.ts";

const root = fs.mkdtempSync(join(tmpdir(), "holdfast-faults-"));
afterAll(() => fs.rmSync(root, { recursive: true }));

function newDirectory(): string {
  return fs.mkdtempSync(join(root, "data-"));
}

function filesBelow(directory: string): string[] {
  return fs
    .readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name));
}

/** Writes bytes 0, 1, 2 … in 64 KiB chunks into an upload, without end, and says when 8 MiB are accepted. */
const HOLDER = `
  const { openFileStore } = await import(${JSON.stringify(join(import.meta.dir, "store.ts"))});
  const store = await openFileStore({ directory: process.argv[1] });
  const upload = await store.upload(process.argv[2], "sha256");
  for (;;) {
    await upload.write(Uint8Array.from({ length: 65536 }, (_, at) => at));
    if (upload.size === 8 << 20) console.log("ready");
    if (upload.size > 1 << 30) throw new Error("never killed");
  }`;

describe("a holder killed in the middle of a write", () => {
  test("holds nothing any more, and the upload goes on after its last byte", async () => {
    const directory = newDirectory();
    const store = await openFileStore({ directory });
    const id = newId();
    const child = Bun.spawn([process.execPath, "-e", HOLDER, directory, id], { stderr: "inherit" });
    const { value } = await child.stdout.getReader().read();
    expect(new TextDecoder().decode(value)).toBe("ready\n");
    expect(await failureOf(store.upload(id, "sha256"))).toBeInstanceOf(UploadBusy);
    expect(await failureOf(store.discard(id))).toBeInstanceOf(UploadBusy);
    child.kill("SIGKILL");
    await child.exited;

    const size = fs.statSync(join(directory, "uploads", id)).size;
    expect(size).toBeGreaterThan(1 << 20);
    expect(await store.uploadSize(id)).toBe(size);
    const upload = await store.upload(id, "sha256");
    expect(upload.size).toBe(size);
    const rest = randomBytes(100_000);
    await upload.write(rest.slice());
    const whole = new Uint8Array(size + rest.byteLength);
    for (let at = 0; at < size; at++) whole[at] = at & 255;
    whole.set(rest, size);
    const blob = await upload.commit(digestOf(whole));
    expect(await store.read(blob.locator, whole.byteLength)).toEqual(whole);
    await store.close();
  }, 30_000);
});

/** Goes on with an upload whose byte at `n` is `n % 251`, in chunks of an odd size. */
const CONTINUER = `
  const { openFileStore } = await import(${JSON.stringify(join(import.meta.dir, "store.ts"))});
  const store = await openFileStore({ directory: process.argv[1] });
  const upload = await store.upload(process.argv[2], "sha256");
  const pattern = Uint8Array.from({ length: 251 * 1024 }, (_, at) => at % 251);
  console.log("holds");
  for (;;) {
    const from = upload.size % 251;
    await upload.write(pattern.slice(from, from + 70001));
    if (upload.size > 1 << 30) throw new Error("never killed");
  }`;

/** Puts blobs that go to a pack, and blobs that go to files, without end. */
const PUTTER = `
  const { openFileStore } = await import(${JSON.stringify(join(import.meta.dir, "store.ts"))});
  const { digestOf, randomBytes } = await import(${JSON.stringify(join(import.meta.dir, "../conformance-tools.ts"))});
  const store = await openFileStore({ directory: process.argv[1] });
  for (let count = 0; ; count++) {
    await Promise.all([5000, 100_000, 5000, 100_000].map((size) => {
      const bytes = randomBytes(size);
      return store.put(digestOf(bytes), bytes);
    }));
    if (count === 20) console.log("puts");
  }`;

async function killed(script: string, after: number, ...args: string[]): Promise<void> {
  const child = Bun.spawn([process.execPath, "-e", script, ...args], { stderr: "inherit" });
  await child.stdout.getReader().read();
  await Bun.sleep(after);
  child.kill("SIGKILL");
  await child.exited;
}

test("holders killed one after another at any moment leave a beginning of the right bytes", async () => {
  const directory = newDirectory();
  const id = newId();
  const store = await openFileStore({ directory });
  let before = 0;
  // On a slow machine the first come to nothing.
  const patience = [30, 0, 7, 21, 13, 40, 100, 400, 1600];
  for (const [turn, after] of patience.entries()) {
    if (turn > 5 && before > 0) break;
    await killed(CONTINUER, after, directory, id);
    const bytes = fs.readFileSync(join(directory, "uploads", id));
    expect(bytes.byteLength).toBeGreaterThanOrEqual(before);
    expect((await store.uploadSize(id)) ?? 0).toBe(bytes.byteLength);
    expect(bytes.findIndex((byte, at) => byte !== at % 251)).toBe(-1);
    before = bytes.byteLength;
  }
  expect(before).toBeGreaterThan(0);
  await store.close();
}, 60_000);

test("a put that is killed leaves nothing, or the whole blob", async () => {
  const directory = newDirectory();
  const store = await openFileStore({ directory });
  for (const after of [0, 3, 8]) await killed(PUTTER, after, directory);
  const blobs = await collected(store.list());
  expect(blobs.length).toBeGreaterThanOrEqual(240);
  for (const { locator, size } of blobs) {
    const bytes = await store.read(locator, size);
    expect(locator).toContain(bytes ? encodedOf(digestOf(bytes)) : "absent");
  }
  if (openUnnamed(directory, 0o600) !== undefined)
    expect(await collected(store.uploads())).toEqual([]);
  await store.close();
}, 30_000);

/** Commits one upload after another under one id; ends with 3 when it was given bytes of somebody else's. */
const RIVAL = `
  const { openFileStore } = await import(${JSON.stringify(join(import.meta.dir, "store.ts"))});
  const { digestOf, randomBytes } = await import(${JSON.stringify(join(import.meta.dir, "../conformance-tools.ts"))});
  const store = await openFileStore({ directory: process.argv[1] });
  const end = Date.now() + 1500;
  let committed = 0;
  while (Date.now() < end) {
    let upload;
    try {
      upload = await store.upload("contended", "sha256");
    } catch (error) {
      if (error.name !== "UploadBusy") throw error;
      continue;
    }
    if (upload.size !== 0) process.exit(3);
    const bytes = randomBytes(10);
    await upload.write(bytes.slice());
    await upload.commit(digestOf(bytes));
    committed++;
  }
  console.log(committed);`;

test("rivals for one upload never get a file that another has just committed", async () => {
  const directory = newDirectory();
  const rivals = Array.from({ length: 3 }, () =>
    Bun.spawn([process.execPath, "-e", RIVAL, directory], { stderr: "inherit" }),
  );
  let committed = 0;
  for (const rival of rivals) {
    committed += Number(await new Response(rival.stdout).text());
    expect(await rival.exited).toBe(0);
  }
  const store = await openFileStore({ directory });
  const blobs = await collected(store.list());
  expect(blobs.length).toBe(committed);
  expect(committed).toBeGreaterThan(3);
  for (const blob of blobs) expect(blob.size).toBe(10);
  await store.close();
}, 30_000);

describe.skipIf(!canMount("tmpfs", join(root, "trial")))(
  "a disk with other tenants (needs root, to mount a tmpfs)",
  () => {
    const MIB = 1 << 20;
    const directory = join(root, "shared");
    beforeAll(() => {
      expect(mountNew("tmpfs", directory, 64)).toBe(true);
    });
    afterAll(() => unmount(directory));

    test("keeps room for them, from blobs large and small; what is there can be ended, read and removed", async () => {
      const store = await openFileStore({ directory, reserveBytes: 24 * MIB });
      const bytes = randomBytes(MIB);
      const begun = await store.upload("begun", "sha256");
      await begun.write(bytes.slice());
      await begun.suspend();

      const upload = await store.upload("large", "sha256");
      const endless = (async () => {
        for (;;) await upload.write(bytes.slice());
      })();
      expect(await failureOf(endless)).toBeInstanceOf(BlobStoreFull);
      const free = async () => (await store.space())?.free ?? 0;
      expect(upload.size).toBeGreaterThan(30 * MIB);
      expect(await free()).toBeGreaterThan(4 * MIB);
      await upload.suspend();

      const small = randomBytes(100);
      expect(await failureOf(store.put(digestOf(small), small))).toBeInstanceOf(BlobStoreFull);
      const locator = store.newLocator(digestOf(small));
      expect(await failureOf(store.place(locator, small))).toBeInstanceOf(BlobStoreFull);

      const held = await store.upload("begun", "sha256");
      const blob = await held.commit(digestOf(bytes));
      expect(await store.read(blob.locator, MIB)).toEqual(bytes);
      await store.delete(blob.locator);
      await store.discard("large");
      expect((await store.put(digestOf(small), small)).size).toBe(100);
      await store.close();
    });
  },
);

describe.skipIf(!canMount("tmpfs", join(root, "trial")))(
  "a full disk (skipped without the right to mount a tmpfs: run as root on Linux)",
  () => {
    const directory = join(root, "small");
    beforeAll(() => {
      expect(mountNew("tmpfs", directory, 8)).toBe(true);
    });
    afterAll(() => unmount(directory));

    test("ends a large upload with what was kept, and later ones work once there is room", async () => {
      const store = await openFileStore({ directory });
      const id = newId();
      const bytes = randomBytes(16 << 20);
      const upload = await store.upload(id, "sha256");
      expect(await failureOf(writeAll(upload, bytes, 100_000))).toBeInstanceOf(BlobStoreFull);
      expect(await failureOf(upload.write(randomBytes(1)))).toBeInstanceOf(BlobStoreFull);
      const kept = upload.size;
      expect(kept).toBeGreaterThan(4 << 20);
      const progress = await upload.suspend();
      expect(progress).toMatchObject({ size: kept, digest: digestOf(bytes.subarray(0, kept)) });
      expect(await store.uploadSize(id)).toBe(kept);

      // Fills the rest, so that not even a small blob fits.
      fs.writeFileSync(join(directory, "filler"), "");
      expect(() => fs.writeFileSync(join(directory, "filler"), randomBytes(8 << 20))).toThrow();
      const small = randomBytes(30_000);
      expect(await failureOf(store.put(digestOf(small), small))).toBeInstanceOf(BlobStoreFull);
      expect(await collected(store.list())).toEqual([]);
      const other = await store.upload(newId(), "sha256");
      await other.write(small.slice());
      expect(await failureOf(other.suspend())).toBeInstanceOf(BlobStoreFull);

      fs.unlinkSync(join(directory, "filler"));
      await store.discard(id);
      expect(await store.read((await store.put(digestOf(small), small)).locator, 30_000)).toEqual(
        small,
      );
      const again = await store.upload(id, "sha256");
      await writeAll(again, bytes.subarray(0, 4 << 20), 100_000);
      const blob = await again.commit(digestOf(bytes.subarray(0, 4 << 20)));
      expect(await store.stat(blob.locator)).toBe(4 << 20);
      await store.delete(blob.locator);
      await store.close();
    });

    test("fails a commit whose last bytes did not fit, and gives the upload free", async () => {
      const store = await openFileStore({ directory });
      const id = newId();
      const bytes = randomBytes(12 << 20);
      const upload = await store.upload(id, "sha256");
      const writes = Array.from({ length: 12 }, (_, at) =>
        upload.write(bytes.slice(at << 20, (at + 1) << 20)),
      );
      for (const write of writes) write.catch(() => undefined);
      expect(await failureOf(upload.commit(digestOf(bytes)))).toBeInstanceOf(BlobStoreFull);
      await store.discard(id);
      expect(await store.uploadSize(id)).toBeUndefined();
      await store.close();
    });
  },
);

describe("the file store", () => {
  test("names an unusable directory and the remedy", async () => {
    const file = join(root, "file");
    fs.writeFileSync(file, "");
    const failure = await failureOf(openFileStore({ directory: join(file, "data") }));
    expect(failure).toBeInstanceOf(BlobStoreUnavailable);
    expect(String(failure)).toContain(join(file, "data"));
    expect(String(failure)).toContain("another directory");
  });

  test("leaves no file behind an abort, a mismatch, an empty suspend or a delete", async () => {
    const directory = newDirectory();
    const store = await openFileStore({ directory });
    for (const size of [0, 100, 500_000]) {
      const aborted = await store.upload(newId(), "sha256");
      await writeAll(aborted, randomBytes(size), 60_000);
      await aborted.abort();
      const wrong = await store.upload(newId(), "sha256");
      await writeAll(wrong, randomBytes(size), 60_000);
      expect(await failureOf(wrong.commit(digestOf(randomBytes(9))))).toBeInstanceOf(
        DigestMismatch,
      );
      await (await store.upload(newId(), "sha256")).suspend();
      const bytes = randomBytes(size);
      await store.delete((await store.put(digestOf(bytes), bytes)).locator);
    }
    await store.close();
    expect(filesBelow(directory)).toEqual([]);
  });

  test("goes on after its empty fan-out directories were tidied away", async () => {
    const directory = newDirectory();
    const store = await openFileStore({ directory });
    const bytes = randomBytes(100_000);
    const first = await store.put(digestOf(bytes), bytes);
    await store.delete(first.locator);
    for (const name of fs.readdirSync(join(directory, "blobs", "sha256")))
      fs.rmdirSync(join(directory, "blobs", "sha256", name));
    const second = await store.put(digestOf(bytes), bytes);
    expect(await store.read(second.locator, 100_000)).toEqual(bytes);
    await store.close();
  });

  test("never makes anew what was moved away, and says so", async () => {
    const directory = newDirectory();
    const store = await openFileStore({ directory });
    const bytes = randomBytes(10);
    const large = randomBytes(100_000);
    for (const isGrowing of [false, true]) {
      for (const [part, content] of [
        ["blobs/sha256", large],
        ["packs", bytes],
      ] as const) {
        if (isGrowing) await store.put(digestOf(content), content);
        fs.renameSync(join(directory, part), join(directory, "elsewhere"));
        const half = await failureOf(store.put(digestOf(content), content));
        expect(half).toBeInstanceOf(BlobStoreUnavailable);
        expect(String(half)).toContain(`${directory}/${part}`);
        expect(String(half)).toContain("is gone");
        expect(fs.existsSync(join(directory, part))).toBe(false);
        fs.renameSync(join(directory, "elsewhere"), join(directory, part));
      }
    }
    const moved = `${directory}-moved`;
    fs.renameSync(directory, moved);
    for (const made of [false, true]) {
      if (made) fs.mkdirSync(directory);
      const uploading = store.upload(newId(), "sha256").then(async (upload) => upload.abort());
      const puts = [bytes, large].map(async (content) => store.put(digestOf(content), content));
      for (const work of [...puts, store.space(), uploading])
        expect(String(await failureOf(work))).toContain("is not what was opened at the start");
    }
    expect(fs.readdirSync(directory)).toEqual([]);
    fs.rmdirSync(directory);
    fs.renameSync(moved, directory);
    expect((await store.put(digestOf(bytes), bytes)).size).toBe(10);
    await store.close();
  });

  test("does not take the rest of a buffer whose part it was given", async () => {
    const store = await openFileStore({ directory: newDirectory() });
    const whole = randomBytes(200_000);
    const before = whole.slice();
    const upload = await store.upload(newId(), "sha256");
    for (let at = 0; at < 200_000; at += 50_000)
      await upload.write(whole.subarray(at, at + 50_000));
    const blob = await upload.commit(digestOf(before));
    expect(await store.read(blob.locator, 200_000)).toEqual(before);
    expect(whole).toEqual(before);
    await store.close();
  });

  test("fails what is under way when it is closed, and the bytes so far are not lost", async () => {
    const directory = newDirectory();
    const store = await openFileStore({ directory });
    const id = newId();
    const bytes = randomBytes(32 << 20);
    const upload = await store.upload(id, "sha256");
    await writeAll(upload, bytes.subarray(0, 8 << 20), 1 << 20);
    // More than may be on its way at once, so that a write is waiting when the store closes.
    const writing = failureOf(writeAll(upload, bytes.subarray(8 << 20), 1 << 20));
    await store.close();
    expect(await writing).toBeInstanceOf(BlobStoreUnavailable);
    expect(await failureOf(upload.commit(digestOf(bytes)))).toBeInstanceOf(BlobStoreUnavailable);

    const reopened = await openFileStore({ directory });
    const resumed = await reopened.upload(id, "sha256");
    expect(resumed.size).toBe(upload.size);
    expect(resumed.size).toBeGreaterThanOrEqual(4 << 20);
    await writeAll(resumed, bytes.subarray(resumed.size), 1 << 20);
    const blob = await resumed.commit(digestOf(bytes));
    expect(blob.size).toBe(bytes.byteLength);
    await reopened.close();
  });

  test("lists no file that is not a blob's", async () => {
    const directory = newDirectory();
    const store = await openFileStore({ directory });
    const bytes = randomBytes(10);
    const { locator } = await store.put(digestOf(bytes), bytes);
    fs.writeFileSync(join(directory, "blobs", "sha256", "stray"), "x");
    fs.writeFileSync(`${join(directory, locator)}.bak`, "x");
    fs.writeFileSync(join(directory, "uploads", "not.an.id"), "x");
    expect((await collected(store.list())).map((blob) => blob.locator)).toEqual([locator]);
    expect(await collected(store.uploads())).toEqual([]);
    await store.close();
  });

  test.skipIf(process.platform !== "linux")("leaks no file descriptor", async () => {
    const store = await openFileStore({ directory: newDirectory() });
    const bytes = randomBytes(1_500_000);
    const id = newId();
    async function round(): Promise<void> {
      const held = await store.upload(id, "sha256");
      await held.write(bytes.slice());
      expect(await failureOf(store.upload(id, "sha256"))).toBeInstanceOf(UploadBusy);
      await held.suspend();
      await store.discard(id);
      const upload = await store.upload(id, "sha256");
      await upload.write(bytes.slice());
      const { locator } = await upload.commit(digestOf(bytes));
      await store.read(locator, bytes.byteLength);
      await new Response(await store.open(locator, bytes.byteLength)).bytes();
      await store.delete(locator);
      const wrong = await store.upload(id, "sha256");
      await wrong.write(bytes.slice());
      await failureOf(wrong.commit(digestOf(randomBytes(1))));
    }
    const count = (): number => fs.readdirSync("/proc/self/fd").length;
    /** The hash thread closes its own descriptors a moment after the upload has ended. */
    async function settled(limit: number): Promise<number> {
      for (let tries = 0; tries < 200 && count() > limit; tries++) await Bun.sleep(10);
      return count();
    }
    const idle = count();
    await round();
    // The thread itself, and the directories kept open.
    const before = await settled(idle + 8);
    await Bun.sleep(100);
    for (let index = 0; index < 30; index++) await round();
    expect(await settled(before)).toBeLessThanOrEqual(before);
    await store.close();
  });
});
