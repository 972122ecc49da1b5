/** Small blobs in packs: what a crash, a deletion, a full disk or another process makes of them. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BLOCK } from "../../base/aligned.ts";
import { punchHole } from "../../base/hole.ts";
import { encodedOf } from "../../oci/digest.ts";
import { bodyOf, collected, digestOf, failureOf, randomBytes } from "../conformance-tools.ts";
import {
  BlobStoreFull,
  BlobStoreUnavailable,
  type BlobStore,
  type Locator,
  type StoredBlob,
} from "../port.ts";
import { newPackId, packLocator, packPlace } from "./locator.ts";
import { canMount, mountNew, unmount } from "./mount-fixture.ts";
import { encodeRecord, HEADER } from "./pack-record.ts";
import { openFileStore } from "./store.ts";

const root = fs.mkdtempSync(join(tmpdir(), "holdfast-packs-"));
afterAll(() => fs.rmSync(root, { recursive: true }));

function newDirectory(): string {
  return fs.mkdtempSync(join(root, "data-"));
}

function packs(directory: string): string[] {
  return fs.readdirSync(join(directory, "packs")).sort();
}

interface Put extends StoredBlob {
  readonly bytes: Uint8Array<ArrayBuffer>;
}

async function putAll(store: BlobStore, ...sizes: readonly number[]): Promise<Put[]> {
  return Promise.all(
    sizes.map(async (size) => {
      const bytes = randomBytes(size);
      return { ...(await store.put(digestOf(bytes), bytes)), bytes };
    }),
  );
}

async function expectAll(store: BlobStore, blobs: readonly Put[]): Promise<void> {
  for (const { locator, size, bytes } of blobs) {
    expect(await store.stat(locator)).toBe(size);
    expect(await store.read(locator, size)).toEqual(bytes);
    expect(await bodyOf(store, { locator, size })).toEqual(bytes);
  }
}

async function expectGone(store: BlobStore, { locator, size }: StoredBlob): Promise<void> {
  expect(await store.stat(locator)).toBeUndefined();
  expect(await store.read(locator, size)).toBeUndefined();
  expect(await store.open(locator, size)).toBeUndefined();
}

async function listed(store: BlobStore): Promise<Locator[]> {
  return (await collected(store.list())).map(({ locator }) => locator);
}

/** The bytes of a record whose pack and block are known. */
function place(blob: StoredBlob): { pack: string; block: number; at: number } {
  const found = packPlace(blob.locator);
  if (found === undefined) throw new Error(`${blob.locator} is not in a pack`);
  return { pack: found.pack, block: found.block, at: found.block * BLOCK };
}

test("sizes around a block, of all handles, in one pack each, and none of them in files", async () => {
  const directory = newDirectory();
  const stores = await Promise.all([openFileStore({ directory }), openFileStore({ directory })]);
  const sizes = [0, 1, BLOCK - HEADER - 1, BLOCK - HEADER, BLOCK - HEADER + 1, BLOCK, 65_536];
  const blobs: Put[] = [];
  for (const store of stores) blobs.push(...(await putAll(store, ...sizes)));
  expect(packs(directory).length).toBe(2);
  for (const store of stores) {
    await expectAll(store, blobs);
    expect(await listed(store)).toEqual(blobs.map(({ locator }) => locator).sort());
    await store.close();
  }
  const reopened = await openFileStore({ directory });
  await expectAll(reopened, blobs);
  expect(fs.readdirSync(join(directory, "blobs/sha256"))).toEqual([]);
  await putAll(reopened, 10);
  expect(packs(directory).length).toBe(3);
  await reopened.close();
});

test("what a crash tore at the end of a pack is no blob, and the rest are", async () => {
  const directory = newDirectory();
  const store = await openFileStore({ directory });
  const blobs = await putAll(store, 9000, 100, 9000, 9000);
  const [first, , , last] = blobs as [Put, Put, Put, Put];
  await store.close();
  const path = join(directory, "packs", place(first).pack);
  const whole = fs.readFileSync(path);
  const kept = blobs.slice(0, 3);

  const torn = {
    "cut in its header": whole.subarray(0, place(last).at + 50),
    "cut in its bytes": whole.subarray(0, place(last).at + 5000),
    "header never written": Buffer.from(whole).fill(0, place(last).at, place(last).at + BLOCK),
    "bytes never written": Buffer.from(whole).fill(0, place(last).at + BLOCK),
    "header damaged": Buffer.from(whole).fill(1, place(last).at + 60, place(last).at + 61),
  };
  for (const [how, bytes] of Object.entries(torn)) {
    fs.writeFileSync(path, bytes);
    const reopened = await openFileStore({ directory });
    expect([how, await listed(reopened)]).toEqual([how, kept.map((blob) => blob.locator).sort()]);
    await expectGone(reopened, last);
    await expectAll(reopened, kept);
    await reopened.close();
  }
});

test("bytes damaged in the middle of a pack are not served, and hide nobody else's", async () => {
  const directory = newDirectory();
  const store = await openFileStore({ directory });
  const blobs = await putAll(store, 9000, 9000, 9000);
  const [first, second, third] = blobs as [Put, Put, Put];
  const fd = fs.openSync(join(directory, "packs", place(second).pack), "r+");
  fs.writeSync(fd, "damage", place(second).at + 7000);
  fs.closeSync(fd);
  await expectGone(store, second);
  expect(await store.open(second.locator, 9000, { start: 0, end: 10 })).toBeUndefined();
  await expectAll(store, [first, third]);
  expect(await listed(store)).toEqual([first.locator, third.locator].sort());
  await store.close();
});

test("a record among a client's bytes is none, whatever it says", async () => {
  const directory = newDirectory();
  const store = await openFileStore({ directory });
  const secret = randomBytes(100);
  const forged = new Uint8Array(3 * BLOCK);
  const scratch = Buffer.alloc(HEADER + secret.length);
  for (const block of [1, 2]) {
    const record = encodeRecord(scratch, newPackId(), block, digestOf(secret), secret);
    forged.set(record, block * BLOCK - HEADER);
  }
  const carrier = await store.put(digestOf(forged), forged);
  await store.delete((await putAll(store, 1))[0]?.locator ?? carrier.locator);
  expect(await listed(store)).toEqual([carrier.locator]);
  for (const block of [1, 2]) {
    const locator = packLocator({ pack: place(carrier).pack, block, digest: digestOf(secret) });
    expect(await store.stat(locator)).toBeUndefined();
    expect(await store.read(locator, secret.length)).toBeUndefined();
    await store.delete(locator);
  }
  expect(await store.read(carrier.locator, carrier.size)).toEqual(forged);
  // As a crash leaves it in the middle of a deletion: the client's blocks are there, their header is not.
  const fd = fs.openSync(join(directory, "packs", place(carrier).pack), "r+");
  fs.writeSync(fd, new Uint8Array(HEADER), 0, HEADER, place(carrier).at);
  fs.closeSync(fd);
  expect(await listed(store)).toEqual([]);
  await store.close();
});

test("a full pack is followed by a new one; one whose records are all deleted goes, if nobody appends to it", async () => {
  const directory = newDirectory();
  const store = await openFileStore({ directory, packBytes: 10 * BLOCK });
  const other = await openFileStore({ directory });
  const blobs: Put[] = [];
  for (let n = 0; n < 10; n++) blobs.push(...(await putAll(store, 5000, 100, 8000)));
  blobs.push(...(await putAll(store, 1)));
  await expectAll(other, blobs);
  const locators = blobs.map(({ locator }) => locator);
  expect(await listed(other)).toEqual(locators.toSorted());
  for (const [at, after] of locators.toSorted().entries()) {
    const rest = (await collected(other.list(after))).map(({ locator }) => locator);
    expect(rest).toEqual(locators.toSorted().slice(at + 1));
  }

  const ids = [...new Set(blobs.map((blob) => place(blob).pack))];
  expect(ids.length).toBeGreaterThan(3);
  expect(packs(directory)).toEqual(ids.toSorted());
  const growing = ids.at(-1) ?? "";
  // Forwards, backwards, from both handles.
  for (const [n, id] of ids.entries()) {
    const own = blobs.filter((blob) => place(blob).pack === id);
    if (n % 2 === 1) own.reverse();
    for (const [at, blob] of own.entries()) {
      expect(packs(directory)).toContain(id);
      await (at % 2 === 0 ? store : other).delete(blob.locator);
      await expectGone(other, blob);
    }
  }
  expect(packs(directory)).toEqual([growing]);
  const [last] = (await putAll(store, 10)) as [Put];
  expect(place(last).pack).toBe(growing);
  await store.delete(last.locator);
  await store.close();
  expect(packs(directory)).toEqual([]);
  await other.close();
});

test.skipIf(!canPunch())("a deletion gives back the blocks of even one small blob", async () => {
  const directory = newDirectory();
  const store = await openFileStore({ directory });
  const blobs = await putAll(store, ...Array.from({ length: 400 }, (_, n) => 100 + n * 50));
  await store.close();
  const [path = ""] = packs(directory).map((id) => join(directory, "packs", id));
  const used = (): number => fs.statSync(path).blocks * 512;
  const before = used();
  const reopened = await openFileStore({ directory });
  const kept = blobs.filter((_, n) => n % 10 === 0);
  for (const blob of blobs) if (!kept.includes(blob)) await reopened.delete(blob.locator);
  const own = kept.reduce((sum, { size }) => sum + Math.ceil((HEADER + size) / BLOCK) * BLOCK, 0);
  expect(used()).toBeLessThanOrEqual(own + 16 * BLOCK);
  expect(used()).toBeLessThan(before / 5);
  await expectAll(reopened, kept);
  expect(await listed(reopened)).toEqual(kept.map(({ locator }) => locator).sort());
  await reopened.close();
});

function canPunch(): boolean {
  const fd = fs.openSync(join(root, "punched"), "w");
  fs.writeSync(fd, new Uint8Array(BLOCK));
  const can = punchHole(fd, 0, BLOCK);
  fs.closeSync(fd);
  return can;
}

const TOOLS = `
  const { openFileStore } = await import(${JSON.stringify(join(import.meta.dir, "store.ts"))});
  const { digestOf, randomBytes } = await import(${JSON.stringify(join(import.meta.dir, "../conformance-tools.ts"))});
  const store = await openFileStore({ directory: process.argv[1] });`;

/** Puts and deletes without end, and says in a line what it was promised. */
const CHURNER = `${TOOLS}
  const { writeSync } = await import("node:fs");
  const say = (text) => writeSync(1, text + "\\n");
  const held = [];
  for (;;) {
    await Promise.all([1, 2, 3].map(async () => {
      const bytes = randomBytes(Math.floor(Math.random() * 20000));
      const { locator } = await store.put(digestOf(bytes), bytes);
      say("put " + locator + " " + bytes.length);
      held.push(locator);
    }));
    const victim = held.splice(Math.floor(Math.random() * held.length), 1)[0];
    say("deleting " + victim);
    await store.delete(victim);
    say("deleted " + victim);
  }`;

test("processes killed at any moment keep what was put and bring back nothing that was deleted", async () => {
  const directory = newDirectory();
  const live = new Map<string, number>();
  const gone = new Set<string>();
  for (const after of [0, 5, 11, 3]) {
    const children = [1, 2].map((child) => {
      const said = join(root, `said-${after}-${child}`);
      const stdio = ["ignore", Bun.file(said), "inherit"] as const;
      return {
        said,
        child: Bun.spawn([process.execPath, "-e", CHURNER, directory], { stdio: [...stdio] }),
      };
    });
    const linesOf = (said: string) => fs.readFileSync(said, "utf8").split("\n").slice(0, -1);
    while (children.some(({ said }) => linesOf(said).length <= 5)) await Bun.sleep(5);
    await Bun.sleep(after);
    for (const { child } of children) child.kill("SIGKILL");
    for (const { child, said } of children) {
      await child.exited;
      const lines = linesOf(said);
      for (const [what, locator = "", size] of lines.map((line) => line.split(" "))) {
        if (what === "put") live.set(locator, Number(size));
        else live.delete(locator);
        if (what === "deleted") gone.add(locator);
      }
    }
    const store = await openFileStore({ directory });
    for (const [locator, size] of live) {
      const bytes = await store.read(locator as Locator, size);
      expect(locator).toContain(bytes ? encodedOf(digestOf(bytes)) : "absent");
    }
    for (const locator of gone) expect(await store.stat(locator as Locator)).toBeUndefined();
    const found = await listed(store);
    expect(found.filter((locator) => gone.has(locator))).toEqual([]);
    expect([...live.keys()].filter((locator) => !found.includes(locator as Locator))).toEqual([]);
    await store.close();
  }
}, 30_000);

const NONE = new Uint8Array(0);

/** Deletes what it is told, one locator a line. */
const DELETER = `${TOOLS}
  for await (const line of console) if (line !== "") await store.delete(line);`;

test("a reader gets all of the right bytes or none, while another process deletes them", async () => {
  const directory = newDirectory();
  const store = await openFileStore({ directory });
  const blobs = await putAll(store, ...Array.from({ length: 300 }, () => 60_000));
  const held = await Promise.all(blobs.map(async ({ locator }) => store.open(locator, 60_000)));
  const deleter = Bun.spawn([process.execPath, "-e", DELETER, directory], {
    stdin: new Blob([blobs.map(({ locator }) => `${locator}\n`).join("")]),
    stderr: "inherit",
  });
  let [whole, absent] = [0, 0];
  while (deleter.exitCode === null) {
    for (const { locator, bytes } of blobs) {
      const read = await store.read(locator, 60_000);
      if (read === undefined) absent++;
      else expect(Buffer.compare(read, bytes)).toBe(0);
      if (read !== undefined) whole++;
    }
    await Bun.sleep(0);
  }
  expect(await deleter.exited).toBe(0);
  expect(whole).toBeGreaterThan(0);
  expect(absent).toBeGreaterThan(0);
  for (const blob of blobs) await expectGone(store, blob);
  // What was opened before stays whole, as a file that is removed does for who has it open.
  for (const [n, body] of held.entries())
    expect(digestOf(await new Response(body).bytes())).toBe(digestOf(blobs[n]?.bytes ?? NONE));
  await store.close();
}, 30_000);

describe.skipIf(!canMount("ext4", join(root, "trial")))(
  "a full disk (needs root, to mount an ext4)",
  () => {
    const directory = join(root, "full");
    beforeAll(() => {
      expect(mountNew("ext4", directory, 24)).toBe(true);
    });
    afterAll(() => unmount(directory));

    test("fails the puts that have no room, keeps all others, and takes more where there is room again", async () => {
      const store = await openFileStore({ directory });
      const kept = await putAll(store, 5000, 60_000);
      const filler = join(directory, "filler");
      fs.writeFileSync(filler, "");
      const fd = fs.openSync(filler, "w");
      for (const step of [1 << 20, 32 << 10]) {
        expect(() => {
          for (let n = 0; n < 100; n++) fs.writeSync(fd, randomBytes(step));
        }).toThrow("ENOSPC");
      }
      fs.closeSync(fd);
      let failures = 0;
      for (let n = 0; n < 60; n++) {
        const bytes = randomBytes(60_000);
        try {
          kept.push({ ...(await store.put(digestOf(bytes), bytes)), bytes });
        } catch (error) {
          expect(error).toBeInstanceOf(BlobStoreFull);
          failures++;
        }
      }
      expect(failures).toBeGreaterThan(10);
      await expectAll(store, kept);
      fs.unlinkSync(filler);
      kept.push(...(await putAll(store, 60_000, 10, 30_000)));
      await expectAll(store, kept);
      expect(await listed(store)).toEqual(kept.map(({ locator }) => locator).sort());
      expect(packs(directory).length).toBe(1);
      await store.close();
    });
  },
);

test("of puts that fail when they are made durable nothing is kept, and the next have a new pack", async () => {
  const directory = newDirectory();
  const store = await openFileStore({ directory });
  const kept = await putAll(store, 5000, 100);
  const [path, away] = [join(directory, "packs"), join(directory, "elsewhere")];
  fs.renameSync(path, away);
  expect(await failureOf(putAll(store, 300, 5000))).toBeInstanceOf(BlobStoreUnavailable);
  fs.renameSync(away, path);
  await expectAll(store, kept);
  kept.push(...(await putAll(store, 10)));
  expect(new Set(kept.map((blob) => place(blob).pack)).size).toBe(2);
  await store.close();
  const reopened = await openFileStore({ directory });
  expect(await listed(reopened)).toEqual(kept.map(({ locator }) => locator).sort());
  await expectAll(reopened, kept);
  await reopened.close();
});

test("files and packs of one data directory are served, listed and deleted alike", async () => {
  const directory = newDirectory();
  const store = await openFileStore({ directory });
  const small = randomBytes(200);
  const hex = encodedOf(digestOf(small));
  // As the version before packs wrote it.
  const old = `blobs/sha256/${hex.slice(0, 2)}/${hex}.abcdefgh` as Locator;
  fs.mkdirSync(join(directory, "blobs/sha256", hex.slice(0, 2)));
  fs.writeFileSync(join(directory, old), small);
  const blobs = [{ locator: old, size: 200, bytes: small }, ...(await putAll(store, 200, 100_000))];
  await expectAll(store, blobs);
  const all = blobs.map(({ locator }) => locator).sort();
  expect(await listed(store)).toEqual(all);
  for (const [at, locator] of all.entries()) {
    const rest = (await collected(store.list(locator))).map((blob) => blob.locator);
    expect(rest).toEqual(all.slice(at + 1));
  }
  for (const { locator } of blobs) await store.delete(locator);
  expect(await listed(store)).toEqual([]);
  await store.close();
});

test("no text but a locator reaches a pack, and no link is followed to one", async () => {
  const directory = newDirectory();
  const store = await openFileStore({ directory });
  const [blob] = (await putAll(store, 300)) as [Put];
  const { locator } = blob;
  const { pack } = place(blob);
  const tricks = [
    `${locator}\n`,
    `./${locator}`,
    `packs/${pack}`,
    locator.replace(":0000:", ":0:"),
    locator.replace(":0000:", ":00000:"),
    locator.replace("packs/", "packs/../packs/"),
    locator.replace(pack, "../uploads/abcde"),
    locator.toUpperCase(),
    locator.slice(0, -1),
  ];
  for (const trick of tricks) {
    expect(await failureOf(store.stat(trick as Locator))).toBeInstanceOf(Error);
    expect(await failureOf(store.delete(trick as Locator))).toBeInstanceOf(Error);
  }
  const path = join(directory, "packs", pack);
  const others = [
    locator.replace(":0000:", ":0001:"),
    locator.replace(":0000:", ":ffff:"),
    packLocator({ pack: newPackId(), block: 0, digest: digestOf(blob.bytes) }),
    packLocator({ pack, block: 0, digest: digestOf(randomBytes(1)) }),
  ];
  for (const other of others) {
    expect(await store.stat(other as Locator)).toBeUndefined();
    await store.delete(other as Locator);
  }
  await expectAll(store, [blob]);

  fs.renameSync(path, join(directory, "elsewhere"));
  for (const make of [
    () => fs.symlinkSync(join(directory, "elsewhere"), path),
    () => fs.mkdirSync(path),
    () => Bun.spawnSync(["mkfifo", path]),
  ]) {
    make();
    await expectGone(store, blob);
    await store.delete(locator);
    expect(await listed(store)).toEqual([]);
    fs.rmSync(path, { recursive: true });
  }
  fs.renameSync(join(directory, "elsewhere"), path);
  await expectAll(store, [blob]);
  await store.close();
});
