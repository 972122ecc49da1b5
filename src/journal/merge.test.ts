import { expect, test } from "bun:test";
import { failureOf } from "../blobs/conformance-tools.ts";
import type { ObjectStore } from "../blobs/objects.ts";
import { takeInventory } from "./inventory.ts";
import { JournalDamaged, journaled, stateHash } from "./index.ts";
import { Bench, countingClock, traffic } from "./journal-fixture.ts";
import { mergeSegments } from "./merge.ts";

const later = { now: () => Date.now() + 3_600_000 };

test("merged, the journal makes the same states at the same times", async () => {
  await using bench = new Bench();
  const objects = await bench.objects();
  const clock = countingClock();
  const plain = bench.store();
  const a = await bench.recorder(plain, { clock, shared: true, writer: "a" });
  const b = await bench.recorder(plain, {
    clock: { now: () => clock.time },
    shared: true,
    writer: "b",
  });
  const points: { at: number; hash: string }[] = [];
  for (let turn = 0; turn < 30; turn++) {
    await Promise.all([traffic(journaled(plain, a), "a", 2), traffic(journaled(plain, b), "b", 2)]);
    points.push({ at: clock.time, hash: await stateHash(plain) });
  }
  await Promise.all([a.close(), b.close()]);
  const before = (await takeInventory(objects)).segments.length;
  await mergeSegments({ objects, clock: { now: () => Date.now() } });
  expect((await takeInventory(objects)).segments.length).toBe(before);
  await mergeSegments({ objects, clock: later });
  // Those that were merged go once nobody can be listing them any more.
  expect((await takeInventory(objects)).segments.length).toBe(before + 1);
  await mergeSegments({ objects, clock: later });
  const { segments } = await takeInventory(objects);
  expect(before).toBeGreaterThan(60);
  expect(segments.length).toBe(1);
  for (const { at, hash } of [...points.slice(0, 3), ...points.slice(-3)]) {
    const { store: copy } = await bench.rebuilt({ at });
    expect(await stateHash(copy)).toBe(hash);
  }
  const next = await bench.recorder(bench.store(), {}).catch((error: unknown) => error);
  expect(String(next)).toContain("holdfast rebuild");
});

test("each rebuilt store's segments are merged by themselves", async () => {
  await using bench = new Bench();
  const objects = await bench.objects();
  const first = await bench.recorded();
  await traffic(first.store, "a", 40);
  await first.recorder.close();
  const { store } = await bench.rebuilt();
  const recorder = await bench.recorder(store, { writer: "two" });
  await traffic(journaled(store, recorder), "b", 40);
  await recorder.close();
  for (let turn = 0; turn < 3; turn++) await mergeSegments({ objects, clock: later });
  expect((await takeInventory(objects)).segments.length).toBe(2);
  const { store: copy } = await bench.rebuilt();
  expect(await stateHash(copy)).toBe(await stateHash(store));
});

test("two who merged the same at the same time do not remove each other's", async () => {
  await using bench = new Bench();
  const objects = await bench.objects();
  const { store, plain, recorder } = await bench.recorded();
  await traffic(store, "a", 40);
  await recorder.close();
  // Both have listed before either writes.
  const [one, two] = [await seenNow(objects, 1), await seenNow(objects, -1)];
  await mergeSegments({ objects: one, clock: later });
  await mergeSegments({ objects: two, clock: later });
  const [three, four] = [await seenNow(objects, 1), await seenNow(objects, -1)];
  await mergeSegments({ objects: three, clock: later });
  await mergeSegments({ objects: four, clock: later });
  expect((await takeInventory(objects)).segments.length).toBe(1);
  const { store: copy } = await bench.rebuilt();
  expect(await stateHash(copy)).toBe(await stateHash(plain));
});

/** As it is read by one who began before what happens next; listed by name, or in the opposite order. */
async function seenNow(objects: ObjectStore, direction: 1 | -1): Promise<ObjectStore> {
  const seen = await Array.fromAsync(objects.list(""));
  seen.sort((a, b) => (a.name < b.name ? -direction : direction));
  const bytes = new Map<string, Uint8Array<ArrayBuffer>>();
  for (const { name } of seen) bytes.set(name, (await objects.get(name)) ?? new Uint8Array());
  return {
    put: (name, content, options) => objects.put(name, content, options),
    get: async (name) => bytes.get(name),
    async *list(prefix) {
      for (const one of seen) if (one.name.startsWith(prefix)) yield one;
    },
    delete: (name) => objects.delete(name),
  };
}

test("what cannot be read is not merged away", async () => {
  await using bench = new Bench();
  const objects = await bench.objects();
  const { store, recorder } = await bench.recorded();
  await traffic(store, "a", 40);
  await recorder.close();
  const { segments } = await takeInventory(objects);
  const names = segments.map(({ name }) => name).sort();
  for (const name of [names[20] ?? "", names.at(-1) ?? ""]) {
    const bytes = (await objects.get(name)) ?? new Uint8Array();
    await objects.put(name, bytes.slice(0, bytes.length / 2));
    expect(await failureOf(mergeSegments({ objects, clock: later }))).toBeInstanceOf(
      JournalDamaged,
    );
    expect((await takeInventory(objects)).segments.length).toBe(names.length);
    await objects.put(name, bytes);
  }
});
