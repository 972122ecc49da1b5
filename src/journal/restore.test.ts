import { readdirSync, rmSync, statSync, truncateSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import { failureOf } from "../blobs/conformance-tools.ts";
import { prepareSchema, readUploadSecret, StoreHalfRestored } from "../registry/schema.ts";
import { systemClock } from "../base/clock.ts";
import { keys } from "../meta/keys.ts";
import { type Change, type MetaStore, StoreUnavailable } from "../meta/port.ts";
import { openWriter } from "../meta/sqlite/index.ts";
import {
  isRestoring,
  JournalDamaged,
  JournalError,
  journaled,
  restore,
  stateHash,
} from "./index.ts";
import { Bench, countingClock, hashAt, INSTALLATION, traffic } from "./journal-fixture.ts";
import { segmentName, snapshotName } from "./names.ts";
import { seal } from "./sealed.ts";
import { commitLine, encodeSegment } from "./segment.ts";

const put = (key: string, value = "{}") => ({ put: [{ key, value }] });

/** Paths of the journal's objects of a kind, in the order of their names. */
function files(bench: Bench, kind: "segments" | "snapshots" | "parts"): string[] {
  const folder = join(bench.journal, "journal", kind);
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .map((name) => join(folder, name))
    .filter((path) => statSync(path).isFile())
    .sort();
}

/** One segment a commit. */
async function oneByOne(store: MetaStore, lane: string, count: number): Promise<void> {
  for (let n = 0; n < count; n++) await store.commit(put(`tag!${lane}!${n}`, `"${n}"`));
}

function damage(path: string): Promise<number> {
  const file = Bun.file(path);
  return file.bytes().then((bytes) => {
    const middle = Math.floor(bytes.length / 2);
    bytes[middle] = (bytes[middle] ?? 0) ^ 0x55;
    return Bun.write(path, bytes);
  });
}

describe("a point in time", () => {
  const operation = fc.record({
    put: fc.uniqueArray(fc.tuple(fc.nat(6), fc.nat(99)), { maxLength: 3, selector: ([k]) => k }),
    delete: fc.uniqueArray(fc.integer({ min: 7, max: 9 }), { maxLength: 2 }),
    swap: fc.boolean(),
    snapshot: fc.nat(9).map((n) => n === 0),
  });
  test("can be any commit there was", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(operation, { minLength: 1, maxLength: 25 }), async (operations) => {
        await using bench = new Bench();
        const clock = countingClock();
        const { store, plain, recorder } = await bench.recorded("before-answer", { clock });
        const points: { at: number; hash: string }[] = [];
        for (const { put: puts, delete: deleted, swap, snapshot } of operations) {
          const key = (n: number) => `tag!r!${swap ? 9 - n : n}`;
          await store.commit({
            put: puts.map(([n, value]) => ({ key: key(n), value: `${value}` })),
            delete: deleted.map(key),
          });
          if (snapshot) await recorder.snapshot();
          points.push({ at: clock.time, hash: await stateHash(plain) });
        }
        if ((await plain.get([])).revision === 0) return;
        for (const { at, hash } of points) {
          const { store: copy } = await bench.rebuilt({ at });
          expect(await stateHash(copy)).toBe(hash);
          await copy.close();
        }
      }),
      { numRuns: 12 },
    );
  }, 60_000);

  test("before the journal's beginning is refused, with the time that it has", async () => {
    await using bench = new Bench();
    const plain = bench.store(50);
    await traffic(plain, "early", 100);
    const recorder = await bench.recorder(plain);
    await oneByOne(journaled(plain, recorder), "a", 3);
    const failure = await failureOf(bench.rebuilt({ at: Date.now() - 60_000 }));
    expect(failure).toBeInstanceOf(JournalError);
    expect(String(failure)).toContain("does not reach back to");
  });

  test("before the first commit is refused, and spoils nothing", async () => {
    await using bench = new Bench();
    const clock = countingClock();
    const { store, plain, recorder } = await bench.recorded("before-answer", { clock });
    await oneByOne(store, "a", 3);
    await recorder.close();
    const failure = await failureOf(bench.rebuilt({ at: 999_999 }));
    expect(failure).toBeInstanceOf(JournalError);
    const [, oldest = ""] =
      /does not reach back to .*: its oldest state is that of (\S+)$/.exec(String(failure)) ?? [];
    const { store: first } = await bench.rebuilt({ at: Date.parse(oldest) });
    expect((await first.scan({ prefix: "", limit: 9 })).entries).toHaveLength(1);
    rmSync(files(bench, "snapshots").at(-1) ?? "");
    expect(files(bench, "snapshots")).toEqual([]);
    const { store: copy } = await bench.rebuilt();
    expect(await stateHash(copy)).toBe(await stateHash(plain));
  });

  test("from before a rebuild stays there, and so does what was given up by it", async () => {
    await using bench = new Bench();
    const clock = countingClock();
    const first = await bench.recorded("before-answer", { clock });
    await oneByOne(first.store, "a", 5);
    const early = { at: clock.time, hash: await stateHash(first.plain) };
    await oneByOne(first.store, "b", 5);
    const late = { at: clock.time, hash: await stateHash(first.plain) };
    await first.recorder.close();
    // Back to the early state, then on from there.
    const { store: second } = await bench.rebuilt({ at: early.at, clock });
    expect(await stateHash(second)).toBe(early.hash);
    const recorder = await bench.recorder(second, { clock, writer: "two" });
    await oneByOne(journaled(second, recorder), "c", 5);
    const last = await stateHash(second);
    for (const [at, hash] of [
      [undefined, last],
      [late.at, late.hash],
      [early.at, early.hash],
    ] as const) {
      const { store: copy } = await bench.rebuilt({ at, clock });
      expect(await stateHash(copy)).toBe(hash);
      // Each rebuild would be the journal's newest state: this one is not to be.
      rmSync(files(bench, "snapshots").at(-1) ?? "");
    }
  });
});

describe("damage", () => {
  test("a torn last segment costs no more than what it held after the tear", async () => {
    await using bench = new Bench();
    const { store, plain, recorder } = await bench.recorded("behind");
    await traffic(store, "a", 100);
    await recorder.close();
    const [path = ""] = files(bench, "segments");
    const { size } = statSync(path);
    const revisions: number[] = [];
    for (const part of [0.97, 0.8, 0.5, 0.2, 0]) {
      truncateSync(path, Math.floor(size * part));
      const restored = await bench.rebuilt().catch((error: unknown) => error);
      if (part === 0) expect(restored).toBeInstanceOf(JournalDamaged);
      if (restored instanceof Error || typeof restored !== "object" || restored === null) continue;
      const { store: copy, revision, torn } = restored as Awaited<ReturnType<Bench["rebuilt"]>>;
      expect(torn.length).toBe(1);
      expect(await stateHash(copy)).toBe(await hashAt(plain, revision, bench));
      revisions.push(revision);
      rmSync(files(bench, "snapshots").at(-1) ?? "");
    }
    expect(revisions.length).toBeGreaterThanOrEqual(3);
    expect(revisions[0]).toBeGreaterThan(50);
    expect(revisions).toEqual([...revisions].sort((a, b) => b - a));
  });

  test("after a torn last segment the next recorder writes its commits again", async () => {
    await using bench = new Bench();
    const { store, plain, recorder } = await bench.recorded();
    await oneByOne(store, "a", 10);
    await recorder.close();
    const torn = files(bench, "segments").at(-1) ?? "";
    truncateSync(torn, statSync(torn).size - 10);
    const next = await bench.recorder(plain, { writer: "two" });
    await oneByOne(journaled(plain, next), "b", 3);
    const restored = await bench.rebuilt();
    expect(await stateHash(restored.store)).toBe(await stateHash(plain));
    expect(restored.torn).toEqual([]);
  });

  test("a damaged or lost segment in the middle is named, and earlier times can be had", async () => {
    await using bench = new Bench();
    const clock = countingClock();
    const { store, plain, recorder } = await bench.recorded("before-answer", { clock });
    await oneByOne(store, "a", 4);
    const early = { at: clock.time, hash: await stateHash(plain) };
    await oneByOne(store, "b", 6);
    await recorder.close();
    const path = files(bench, "segments")[5] ?? "";
    for (const harm of [() => damage(path), async () => truncateSync(path, 60)]) {
      await harm();
      const failure = await failureOf(bench.rebuilt());
      expect(failure).toBeInstanceOf(JournalDamaged);
      expect(String(failure)).toContain(path.slice(bench.journal.length + 1));
    }
    const { store: copy } = await bench.rebuilt({ at: early.at });
    expect(await stateHash(copy)).toBe(early.hash);
  });

  test("a damaged segment whose commits others hold is passed over", async () => {
    await using bench = new Bench();
    const plain = bench.store();
    const a = await bench.recorder(plain, { shared: true, writer: "a" });
    const b = await bench.recorder(plain, { shared: true, writer: "b" });
    await Promise.all([
      oneByOne(journaled(plain, a), "a", 10),
      oneByOne(journaled(plain, b), "b", 10),
    ]);
    await Promise.all([a.close(), b.close()]);
    const hash = await stateHash(plain);
    const paths = files(bench, "segments");
    let survived = 0;
    for (const path of paths) {
      const bytes = await Bun.file(path).bytes();
      await damage(path);
      const restored = await bench.rebuilt().catch((error: unknown) => error);
      if (restored instanceof Error) expect(restored).toBeInstanceOf(JournalDamaged);
      else {
        const { store: copy, torn } = restored as Awaited<ReturnType<Bench["rebuilt"]>>;
        if (torn.length === 0) {
          expect(await stateHash(copy)).toBe(hash);
          survived++;
        }
        rmSync(files(bench, "snapshots").at(-1) ?? "");
      }
      await Bun.write(path, bytes);
    }
    expect(survived).toBeGreaterThan(0);
  });

  test("with a damaged snapshot the one before makes the same state, or the loss is told", async () => {
    await using bench = new Bench();
    const { store, plain, recorder } = await bench.recorded();
    await traffic(store, "a", 30);
    await recorder.snapshot();
    await traffic(store, "b", 30);
    await recorder.snapshot();
    await traffic(store, "c", 30);
    await recorder.close();
    const hash = await stateHash(plain);
    const newest = files(bench, "snapshots").at(-1) ?? "";
    const id = newest.slice(newest.lastIndexOf(".") + 1);
    const part = files(bench, "parts").find((path) => path.includes(id)) ?? "";
    for (const path of [part, newest]) {
      const bytes = await Bun.file(path).bytes();
      await damage(path);
      const { store: copy, commits } = await bench.rebuilt();
      expect(commits).toBe(60);
      expect(await stateHash(copy)).toBe(hash);
      rmSync(files(bench, "snapshots").at(-1) ?? "");
      await Bun.write(path, bytes);
    }
    // After a rebuild the snapshot is all there is of the new beginning.
    const { store: second } = await bench.rebuilt();
    const next = await bench.recorder(second, { writer: "two" });
    await traffic(journaled(second, next), "d", 5);
    await damage(files(bench, "snapshots").at(-1) ?? "");
    expect(await failureOf(bench.rebuilt())).toBeInstanceOf(JournalDamaged);
  });

  test("without a journal there is nothing to rebuild", async () => {
    await using bench = new Bench();
    expect(String(await failureOf(bench.rebuilt()))).toContain("there is no journal here");
  });
});

describe("what an earlier release has written", () => {
  const sealedAs = async (
    bench: Bench,
    after: number,
    lines: readonly Change[],
    at: number,
  ): Promise<void> => {
    const last = lines.at(-1)?.revision ?? after;
    const header = { installation: INSTALLATION, writer: "old", after, last, at };
    const texts = lines.flatMap((change) => commitLine(change, at) ?? []);
    const objects = await bench.objects();
    await objects.put(segmentName(after, last, "old"), await encodeSegment(header, texts));
  };
  /** A commit that deletes all there is. */
  const wipeOf = async (store: MetaStore): Promise<Change> => {
    const { revision, entries } = await store.scan({ prefix: "", limit: 1000 });
    return {
      revision: revision + 1,
      changes: entries.map(({ key }) => ({ key, value: undefined })),
    };
  };

  test("the deletion of everything is passed over, and so is the snapshot of nothing", async () => {
    await using bench = new Bench();
    const { store, plain, recorder } = await bench.recorded();
    await traffic(store, "a", 20);
    await recorder.snapshot();
    await traffic(store, "b", 5);
    await recorder.close();
    const hash = await stateHash(plain);
    const wipe = await wipeOf(plain);
    const later = { revision: wipe.revision + 1, changes: [{ key: "tag!c!x", value: "{}" }] };
    const at = Date.now();
    await sealedAs(bench, wipe.revision - 1, [wipe, later], at);
    const nothing = { id: "0".repeat(16), from: 2 ** 30, through: 2 ** 30, at: at + 1, entries: 0 };
    const header = { holdfast: "snapshot", format: 1, installation: INSTALLATION, ...nothing };
    const objects = await bench.objects();
    const name = snapshotName(nothing.from, nothing.through, nothing.id);
    await objects.put(name, await seal(header, []));
    for (const time of [undefined, at]) {
      const restored = await bench.rebuilt({ at: time });
      expect(restored.wiped).toBe(at);
      expect(await stateHash(restored.store)).toBe(hash);
      const newest = files(bench, "snapshots").filter((path) => !path.endsWith(name));
      rmSync(newest.at(-1) ?? "");
    }
    // Nor is it taken for the end of what the next node goes on with.
    const next = await bench.rebuilt();
    expect((await next.store.get([])).revision).toBeGreaterThan(nothing.through);
  });

  test("what a rebuild that was begun anew has deleted and brought back counts", async () => {
    await using bench = new Bench();
    const { store, plain, recorder } = await bench.recorded();
    await traffic(store, "a", 5);
    await recorder.close();
    const wipe = await wipeOf(plain);
    const value = JSON.stringify({ id: INSTALLATION });
    const again = { key: keys.installation, value };
    const later = {
      revision: wipe.revision + 1,
      changes: [again, { key: "tag!c!x", value: "{}" }],
    };
    await sealedAs(bench, wipe.revision - 1, [wipe, later], Date.now());
    const restored = await bench.rebuilt();
    expect(restored.wiped).toBeUndefined();
    const { entries } = await restored.store.scan({ prefix: "", limit: 9, keysOnly: true });
    expect(entries.map(({ key }) => key)).toEqual([keys.installation, "tag!c!x"]);
  });
});

describe("the store that is filled", () => {
  test("must be empty", async () => {
    await using bench = new Bench();
    const { store } = await bench.recorded();
    await oneByOne(store, "a", 3);
    const path = join(bench.directory, "used.db");
    const used = openWriter({ path });
    await used.commit(put("tag!mine!x"));
    await used.close();
    const open = (above?: number) =>
      Promise.resolve(openWriter(above === undefined ? { path } : { path, above }));
    const failure = await failureOf(bench.rebuilt({ open }));
    expect(failure).toBeInstanceOf(StoreUnavailable);
    const again = openWriter({ path });
    expect((await again.scan({ prefix: "", limit: 9 })).entries.length).toBe(1);
    await again.close();
  });

  test("says that it is half full when the rebuild was cut short, and the next one starts anew", async () => {
    await using bench = new Bench();
    const { store, plain, recorder } = await bench.recorded();
    await prepareSchema(store, systemClock);
    await Promise.all(Array.from({ length: 3000 }, (_, n) => store.commit(put(`blob!${n}`))));
    await recorder.snapshot();
    await traffic(store, "a", 20);
    await recorder.close();
    const path = join(bench.directory, "cut.db");
    const objects = await bench.objects();
    const open = (above?: number) =>
      Promise.resolve(openWriter(above === undefined ? { path } : { path, above }));
    for (const cut of [1, 5, 15]) {
      const stop = new AbortController();
      let calls = 0;
      const progress = () => {
        if (++calls === cut) stop.abort(new Error("cut short"));
      };
      const options = { objects, open, clock: systemClock, progress, signal: stop.signal };
      expect(String(await failureOf(restore(options)))).toContain("cut short");
      const half = openWriter({ path });
      expect(await isRestoring(half)).toBe(true);
      expect(await failureOf(prepareSchema(half, systemClock))).toBeInstanceOf(StoreHalfRestored);
      await half.commit(put("blob!left-over"));
      await half.close();
    }
    const late = restore({
      objects,
      open,
      clock: systemClock,
      complete: async (filled) => {
        await filled.commit(put("blob!1", '"completed"'));
        throw new Error("cut short");
      },
    });
    expect(String(await failureOf(late))).toContain("cut short");
    const half = openWriter({ path });
    expect(await isRestoring(half)).toBe(true);
    await half.close();
    const done: number[] = [];
    const { store: copy, entries } = await restore({
      objects,
      open,
      clock: systemClock,
      progress: ({ done: bytes, total }) => done.push(bytes / total),
    });
    expect(done.at(-1)).toBe(1);
    expect(done).toEqual([...done].sort((a, b) => a - b));
    expect(await isRestoring(copy)).toBe(false);
    expect(await stateHash(copy)).toBe(await stateHash(plain));
    expect(entries).toBe(3000 + 2 + 1 + 3);
    await copy.close();
  });

  test("is completed before it counts, and before the journal has it", async () => {
    await using bench = new Bench();
    const { store, recorder } = await bench.recorded();
    await traffic(store, "a", 3);
    await recorder.close();
    const complete = (filled: MetaStore) => filled.commit(put("tag!a!latest", '"completed"'));
    const { store: first } = await bench.rebuilt({ complete });
    const { store: second } = await bench.rebuilt();
    for (const one of [first, second])
      expect((await one.get(["tag!a!latest"])).entries[0]?.value).toBe('"completed"');
  });

  test("gets secrets of its own, and is the same installation", async () => {
    await using bench = new Bench();
    const { store } = await bench.recorded();
    await prepareSchema(store, systemClock);
    const { store: copy } = await bench.rebuilt();
    expect(await failureOf(readUploadSecret(copy))).toBeInstanceOf(Error);
    await prepareSchema(copy, systemClock);
    expect(await readUploadSecret(copy)).not.toEqual(await readUploadSecret(store));
    const [ours, theirs] = await Promise.all(
      [store, copy].map(async (one) => (await one.get(["meta!installation"])).entries[0]?.value),
    );
    expect(ours).toBe(theirs);
  });
});
