import { mkdirSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "bun:test";
import { collected, failureOf, randomBytes } from "../blobs/conformance-tools.ts";
import {
  isSnapshotDue,
  journaled,
  maintainJournal,
  measureJournal,
  stateHash,
  trimJournal,
} from "./index.ts";
import { JournalError } from "./errors.ts";
import { Bench, traffic } from "./journal-fixture.ts";

const HOUR = 3_600_000;

test("trimming keeps every state within the window, and little else", async () => {
  await using bench = new Bench();
  const clock = { time: Date.now(), now: () => clock.time };
  const objects = await bench.objects();
  const { store, plain, recorder } = await bench.recorded("before-answer", { clock });
  const points: { at: number; hash: string }[] = [];
  for (let hour = 0; hour < 12; hour++) {
    for (let step = 0; step < 3; step++) {
      clock.time += HOUR / 4;
      await traffic(store, `h${hour}`, 2);
      points.push({ at: clock.time, hash: await stateHash(plain) });
    }
    clock.time += HOUR / 4;
    await recorder.snapshot();
    const before = (await measureJournal(objects)).segments;
    await trimJournal({ objects, clock, windowMs: 3 * HOUR });
    if (hour === 11) expect((await measureJournal(objects)).segments).toBeLessThan(before);
  }
  const size = await measureJournal(objects);
  expect(size.snapshots).toBeLessThanOrEqual(5);
  expect(size.segments).toBeLessThanOrEqual(5 * 3 * 3);
  expect(size.sinceSegments).toBe(0);
  const start = clock.time - 3 * HOUR;
  const within = points.filter(({ at }) => at >= start);
  expect(within.length).toBeGreaterThanOrEqual(9);
  for (const { at, hash } of within) {
    const { store: copy } = await bench.rebuilt({ at, clock: { now: () => clock.time + HOUR } });
    expect(await stateHash(copy)).toBe(hash);
    await copy.close();
  }
  expect(await failureOf(bench.rebuilt({ at: start - 3 * HOUR }))).toBeInstanceOf(JournalError);
  const parts = new Set(
    (await collected(objects.list("journal/parts/"))).map(({ name }) => name.split("/")[2]),
  );
  expect(parts.size).toBe((await measureJournal(objects)).snapshots);
});

test("a snapshot is due by size, by age, and not while nothing happens", () => {
  const now = 10 * 86_400_000;
  const clock = { now: () => now };
  const size = {
    segments: 9,
    bytes: 9,
    snapshots: 1,
    snapshotAt: now,
    sinceSegments: 5,
    sinceBytes: 50_000,
  };
  expect(isSnapshotDue(size, clock)).toBe(false);
  expect(isSnapshotDue({ ...size, sinceBytes: 2 ** 27 }, clock)).toBe(true);
  expect(isSnapshotDue({ ...size, sinceSegments: 10_000 }, clock)).toBe(true);
  expect(isSnapshotDue({ ...size, snapshotAt: now - 2 * 86_400_000 }, clock)).toBe(true);
  expect(isSnapshotDue({ ...size, snapshotAt: now - 2 * 86_400_000, sinceBytes: 900 }, clock)).toBe(
    false,
  );
  expect(isSnapshotDue({ ...size, snapshotAt: undefined }, clock)).toBe(true);
});

test("upkeep makes the snapshot that is due, and removes parts that belong to none", async () => {
  await using bench = new Bench();
  const objects = await bench.objects();
  const clock = { time: Date.now(), now: () => clock.time };
  const { plain, recorder, store } = await bench.recorded("before-answer", { clock });
  await Promise.all(
    Array.from({ length: 200 }, (_, n) =>
      store.commit({
        put: [{ key: `blob!${n}`, value: JSON.stringify(randomBytes(200).toHex()) }],
      }),
    ),
  );
  const orphan = join(bench.journal, "journal", "parts", "dead", "000000");
  mkdirSync(join(orphan, ".."), { recursive: true });
  writeFileSync(orphan, "");
  utimesSync(orphan, clock.time / 1000 - 2 * 86_400, clock.time / 1000 - 2 * 86_400);
  const options = { objects, clock, windowMs: HOUR, snapshot: () => recorder.snapshot() };
  await maintainJournal(options);
  await maintainJournal(options);
  expect((await measureJournal(objects)).snapshots).toBe(1);
  expect(
    (await collected(objects.list("journal/parts/"))).map(({ name }) => name.includes("dead")),
  ).toEqual([false]);
  // Outside of the window the segments before the snapshot are nobody's.
  clock.time += 2 * HOUR;
  await traffic(journaled(plain, recorder), "z", 3);
  await maintainJournal(options);
  const left = await measureJournal(objects);
  expect(left.segments).toBe(left.sinceSegments);
  const { store: copy } = await bench.rebuilt();
  expect(await stateHash(copy)).toBe(await stateHash(plain));
});

test("a snapshot that has lost a part is no reason to remove what was before it", async () => {
  await using bench = new Bench();
  const objects = await bench.objects();
  const clock = { time: Date.now(), now: () => clock.time };
  const { plain, recorder, store } = await bench.recorded("before-answer", { clock });
  await traffic(store, "a", 10);
  const { parts } = await recorder.snapshot();
  for (const { name } of parts) await objects.delete(name);
  clock.time += 10 * HOUR;
  await trimJournal({ objects, clock, windowMs: HOUR });
  const { store: copy } = await bench.rebuilt();
  expect(await stateHash(copy)).toBe(await stateHash(plain));
});
