import { truncateSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "bun:test";
import { failureOf } from "../blobs/conformance-tools.ts";
import { systemClock } from "../base/clock.ts";
import { SCHEMA_VERSION } from "../meta/keys.ts";
import type { MetaStore } from "../meta/port.ts";
import { type Bench as Journal, Bench, INSTALLATION, traffic } from "./journal-fixture.ts";
import {
  BackupUnusable,
  checkArchive,
  JournalDamaged,
  openArchive,
  openBackup,
  type Recorder,
  stateHash,
} from "./index.ts";

/** Writes a backup and resolves to its path. */
async function backedUp(bench: Journal, store: MetaStore, recorder: Recorder): Promise<string> {
  const { bytes, chunks } = await openBackup({
    store,
    objects: await bench.objects(),
    installation: INSTALLATION,
    recorder,
    clock: systemClock,
    signal: new AbortController().signal,
  });
  const parts = await Array.fromAsync(chunks);
  const file = new Blob(parts);
  expect(file.size).toBe(bytes);
  const path = join(bench.directory, `backup-${Bun.nanoseconds()}.tar`);
  await Bun.write(path, file);
  return path;
}

async function opened(path: string) {
  const archive = await openArchive(Bun.file(path), "FILE");
  await checkArchive(archive, "FILE");
  return archive;
}

/** Restores into an empty store beside a journal of its own; resolves to the hash of what is there. */
async function restoredHash(path: string): Promise<string> {
  await using other = new Bench();
  const { objects } = await opened(path);
  const { store } = await other.rebuilt({ objects, journal: await other.objects() });
  const hash = await stateHash(store);
  const { store: again } = await other.rebuilt();
  expect(await stateHash(again)).toBe(hash);
  return hash;
}

describe("a backup has what was there when it was asked for", () => {
  test.each(["behind", "before-answer"] as const)("with a journal that is %s", async (mode) => {
    await using bench = new Bench();
    const { store, plain, recorder } = await bench.recorded(mode);
    await traffic(store, "a", 20);
    const first = await backedUp(bench, plain, recorder);
    const hash = await stateHash(plain);
    await recorder.snapshot();
    await traffic(store, "b", 20);
    const second = await backedUp(bench, plain, recorder);
    expect(await restoredHash(first)).toBe(hash);
    expect(await restoredHash(second)).toBe(await stateHash(plain));
  });

  test("while others commit: the state of one moment after it", async () => {
    await using bench = new Bench();
    const { store, plain, recorder } = await bench.recorded("behind");
    await traffic(store, "a", 50);
    const busy = traffic(store, "b", 300);
    const mark = await store.commit({ put: [{ key: "tag!r!mark", value: '"here"' }] });
    expect(mark.ok).toBe(true);
    const path = await backedUp(bench, plain, recorder);
    await busy;
    await using other = new Bench();
    const { objects } = await opened(path);
    const { store: copy } = await other.rebuilt({ objects, journal: await other.objects() });
    const { entries } = await copy.get(["tag!r!mark", "tag!b!latest"]);
    expect(entries[0]?.value).toBe('"here"');
    // Each turn puts both in one commit, and removes the blob of three turns before.
    const turn = (JSON.parse(entries[1]?.value ?? "null") as { turn: number } | null)?.turn ?? -1;
    const blobs = (await copy.scan({ prefix: "blob!sha256:b-", limit: 100 })).entries;
    const there = [turn - 2, turn - 1, turn].filter((n) => n >= 0);
    expect(blobs.map(({ key }) => key).sort()).toEqual(
      there.map((n) => `blob!sha256:b-${n}`).sort(),
    );
  });

  test("where the journal is damaged: from a snapshot of now", async () => {
    await using bench = new Bench();
    const { store, plain, recorder } = await bench.recorded();
    await traffic(store, "a", 10);
    const objects = await bench.objects();
    for await (const { name } of objects.list("journal/segments/"))
      await objects.put(name, new Uint8Array([1, 2, 3]));
    const path = await backedUp(bench, plain, recorder);
    expect(await restoredHash(path)).toBe(await stateHash(plain));
  });
});

test("revisions of a restored store are above those of the backup and of the journal there", async () => {
  await using bench = new Bench();
  const { store, plain, recorder } = await bench.recorded();
  await traffic(store, "a", 10);
  const path = await backedUp(bench, plain, recorder);
  await traffic(store, "b", 50);
  await recorder.close();
  const { revision } = await plain.get([]);
  const { objects } = await opened(path);
  const { store: copy } = await bench.rebuilt({ objects, journal: await bench.objects() });
  expect((await copy.get([])).revision).toBeGreaterThan(revision);
});

describe("what cannot be used is refused in a sentence:", () => {
  async function backup(bench: Journal): Promise<string> {
    const { store, plain, recorder } = await bench.recorded();
    await traffic(store, "a", 10);
    await recorder.snapshot();
    await traffic(store, "b", 10);
    return backedUp(bench, plain, recorder);
  }

  test("every torn end", async () => {
    await using bench = new Bench();
    const path = await backup(bench);
    const { size } = Bun.file(path);
    for (let length = size - 1; length > 0; length -= 511) {
      truncateSync(path, length);
      const error = await failureOf(opened(path));
      expect(error).toBeInstanceOf(BackupUnusable);
      expect(String(error)).toMatch(/FILE is (not whole|no backup)/);
    }
  });

  test("a changed byte, wherever it is", async () => {
    await using bench = new Bench();
    const path = await backup(bench);
    const bytes = await Bun.file(path).bytes();
    let harmless = 0;
    for (let at = 0; at < bytes.length; at += 37) {
      const spoilt = bytes.slice();
      spoilt[at] = (spoilt[at] ?? 0) ^ 0x41;
      await Bun.write(path, spoilt);
      const error = await failureOf(opened(path)).catch(() => undefined);
      // Padding, and what only people read.
      if (error === undefined) harmless++;
      else expect(Error.isError(error) && error.message).toMatch(/FILE|journal/);
    }
    expect(harmless).toBeLessThan(bytes.length / 37 / 2);
  });

  test.each([
    ["a newer form", { format: 99 }, /newer Holdfast \(format 99/],
    ["a newer schema", { schema: SCHEMA_VERSION + 1 }, /newer Holdfast \(format 1, schema/],
    ["something else", { holdfast: "segment" }, /FILE is no backup/],
  ])("%s", async (_, change, sentence) => {
    await using bench = new Bench();
    const path = await backup(bench);
    const text = await Bun.file(path).text();
    const label = text.slice(512, text.indexOf("\n", 512));
    const other = JSON.stringify({ ...(JSON.parse(label) as object), ...change });
    const bytes = await Bun.file(path).bytes();
    bytes.set(new TextEncoder().encode(other.padEnd(label.length)), 512);
    await Bun.write(path, bytes);
    expect(String(await failureOf(opened(path)))).toMatch(sentence);
  });

  test("an object that goes while it is read", async () => {
    await using bench = new Bench();
    const { store, plain, recorder } = await bench.recorded();
    await traffic(store, "a", 10);
    const objects = await bench.objects();
    const { chunks } = await openBackup({
      store: plain,
      objects,
      installation: INSTALLATION,
      recorder,
      clock: systemClock,
      signal: new AbortController().signal,
    });
    for await (const { name } of objects.list("journal/")) await objects.delete(name);
    expect(await failureOf(Array.fromAsync(chunks))).toBeInstanceOf(JournalDamaged);
  });
});
