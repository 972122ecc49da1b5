import { renameSync, rmSync } from "node:fs";
import { describe, expect, test } from "bun:test";
import { failureOf } from "../blobs/conformance-tools.ts";
import { keys } from "../meta/keys.ts";
import { type MetaStore, StoreUnavailable } from "../meta/port.ts";
import { JournalAhead, JournalError, JournalForeign, journaled, stateHash } from "./index.ts";
import { Bench, quiet, traffic } from "./journal-fixture.ts";
import { takeInventory } from "./inventory.ts";

const put = (key: string, value = "{}") => ({ put: [{ key, value }] });

describe("before the answer", () => {
  test("what was answered for is in the journal, in one segment for all that waited", async () => {
    await using bench = new Bench();
    const { store, recorder } = await bench.recorded();
    for (let turn = 0; turn < 5; turn++) {
      await store.commit(put(`tag!r!${turn}`));
      const { store: copy } = await bench.rebuilt();
      expect((await copy.get([`tag!r!${turn}`])).entries[0]?.value).toBe("{}");
      await copy.close();
      // Each rebuild began the journal anew: here it shall go on as it was.
      for await (const { name } of (await bench.objects()).list("journal/snapshots/"))
        await (await bench.objects()).delete(name);
    }
    const before = recorder.status().segments;
    await Promise.all(Array.from({ length: 200 }, (_, n) => store.commit(put(`blob!${n}`))));
    expect(recorder.status().segments - before).toBeLessThan(20);
    expect(recorder.status().covered).toBeGreaterThanOrEqual(recorder.status().heard);
  });

  test("the rebuilt state is that before, after traffic from many sides", async () => {
    await using bench = new Bench();
    const { store, plain } = await bench.recorded();
    await Promise.all(Array.from({ length: 8 }, (_, lane) => traffic(store, `l${lane}`, 50)));
    const { store: copy, torn, installation } = await bench.rebuilt();
    expect(await stateHash(copy)).toBe(await stateHash(plain));
    expect(torn).toEqual([]);
    expect(installation).toBe("0123456789abcdef");
    const left = await copy.scan({ prefix: "", limit: 10_000 });
    expect(
      left.entries.filter(({ key }) => /^(?:upload|lease|journal|restore)!/.test(key)),
    ).toEqual([]);
    // No version of the rebuilt store was ever one of the lost store's.
    const { revision } = await plain.get([]);
    for (const { version } of left.entries) expect(version).toBeGreaterThan(revision);
  });

  test("a commit without an effect is answered, and so is one that only asks", async () => {
    await using bench = new Bench();
    const { store, recorder } = await bench.recorded();
    expect(await store.commit({ delete: ["tag!none!x"] })).toEqual({ ok: true, revision: 1 });
    const first = await store.commit(put("tag!a!x"));
    const asked = await store.commit({ expect: [{ key: "tag!a!x", version: 2 }] });
    expect(asked).toEqual(first);
    expect(await store.commit({ expect: [{ key: "tag!a!x", version: 9 }] })).toEqual({
      ok: false,
      keys: ["tag!a!x"],
    });
    // A revision that no event will ever show, as etcd has them, is passed by a commit of the recorder's own.
    const started = performance.now();
    await recorder.covers(3);
    expect(performance.now() - started).toBeLessThan(1500);
  });

  test("what rests on others' commits waits for them, also where it changes nothing that is kept", async () => {
    await using bench = new Bench();
    const { store, plain, recorder } = await bench.recorded();
    await plain.commit(put(keys.upload("x")));
    const others = await plain.commit(put("blob!d"));
    const version = others.ok ? others.revision : 0;
    await store.commit({ expect: [{ key: "blob!d", version }], delete: [keys.upload("x")] });
    expect(recorder.status().segments).toBe(1);
    expect(recorder.status().covered).toBeGreaterThanOrEqual(version);
  });

  test("what the journal leaves out waits for nothing", async () => {
    await using bench = new Bench();
    const { store, recorder } = await bench.recorded();
    await store.commit(put("tag!a!x"));
    const before = recorder.status().segments;
    for (let turn = 0; turn < 50; turn++) await store.commit(put(keys.upload("x"), `${turn}`));
    expect(recorder.status().segments).toBe(before);
    // A long run of it is noted, so that the history of it can go.
    for (let turn = 0; turn < 1000; turn++) await store.commit(put(keys.upload("x"), `${turn}`));
    await Bun.sleep(50);
    expect(recorder.status().segments).toBe(before + 1);
  });
});

test("behind: commits are answered at once and are in the journal within two seconds", async () => {
  await using bench = new Bench();
  const { store, plain, recorder } = await bench.recorded("behind");
  await traffic(store, "a", 100);
  expect(recorder.status().behind.commits).toBeGreaterThan(0);
  await Bun.sleep(1500);
  expect(recorder.status().behind).toEqual({ commits: 0, ms: 0 });
  expect(recorder.status().segments).toBeLessThan(4);
  const { store: copy } = await bench.rebuilt();
  expect(await stateHash(copy)).toBe(await stateHash(plain));
});

test("behind: commits wait for a journal that is too far behind, and are refused when it cannot be written", async () => {
  await using bench = new Bench();
  const { store, plain, recorder } = await bench.recorded("behind");
  await traffic(store, "a", 5);
  renameSync(bench.journal, `${bench.journal}-away`);
  const started = performance.now();
  const turn = async () => failureOf(store.commit(put("tag!b!x")));
  let failure = await turn();
  let slowest = 0;
  while (failure === undefined) {
    await Bun.sleep(20);
    const asked = performance.now();
    failure = await turn();
    slowest = Math.max(slowest, performance.now() - asked);
  }
  expect(failure).toBeInstanceOf(StoreUnavailable);
  expect(performance.now() - started).toBeLessThan(5000);
  expect(slowest).toBeLessThan(2500);
  renameSync(`${bench.journal}-away`, bench.journal);
  await Bun.sleep(1200);
  await traffic(store, "c", 5);
  await recorder.close();
  const { store: copy } = await bench.rebuilt();
  expect(await stateHash(copy)).toBe(await stateHash(plain));
}, 20_000);

test("behind: the journal keeps up with all that one process can commit", async () => {
  await using bench = new Bench();
  const { store, plain, recorder } = await bench.recorded("behind");
  const end = performance.now() + 5000;
  let furthest = 0;
  const value = JSON.stringify("x".repeat(500));
  const lane = async (id: number) => {
    for (let n = 0; performance.now() < end; n++) {
      const made = Array.from({ length: 5 }, (_, k) => ({ key: `blob!${id}!${n}!${k}`, value }));
      await store.commit({ put: made });
      furthest = Math.max(furthest, recorder.status().behind.ms);
    }
  };
  await Promise.all(Array.from({ length: 256 }, (_, id) => lane(id)));
  expect(furthest).toBeLessThan(4000);
  await recorder.close();
  const { store: copy } = await bench.rebuilt();
  expect(await stateHash(copy)).toBe(await stateHash(plain));
}, 60_000);

test("closing writes what is left, and the next recorder goes on from there", async () => {
  await using bench = new Bench();
  const { store, plain, recorder } = await bench.recorded("behind");
  await traffic(store, "a", 20);
  await recorder.close();
  const { segments } = await takeInventory(await bench.objects());
  // Committed while nobody records.
  await traffic(plain, "b", 20);
  const next = await bench.recorder(plain, { mode: "behind", writer: "two" });
  await traffic(journaled(plain, next), "c", 20);
  await next.close();
  const after = await takeInventory(await bench.objects());
  expect(after.segments.length).toBe(segments.length + 1);
  expect(after.snapshots).toEqual([]);
  const { store: copy } = await bench.rebuilt();
  expect(await stateHash(copy)).toBe(await stateHash(plain));
});

test("history that is gone is bridged by a snapshot", async () => {
  await using bench = new Bench();
  const plain = bench.store(50);
  await traffic(plain, "early", 100);
  const first = await bench.recorder(plain);
  await traffic(journaled(plain, first), "a", 20);
  expect(first.status().complete).toBe(true);
  await first.close();
  expect((await takeInventory(await bench.objects())).snapshots.length).toBe(1);
  await traffic(plain, "unheard", 200);
  const second = await bench.recorder(plain);
  await traffic(journaled(plain, second), "b", 20);
  expect((await takeInventory(await bench.objects())).snapshots.length).toBe(2);
  const { store: copy } = await bench.rebuilt();
  expect(await stateHash(copy)).toBe(await stateHash(plain));
});

test("a snapshot taken under traffic is exact", async () => {
  await using bench = new Bench();
  const { store, plain, recorder } = await bench.recorded();
  await Promise.all(
    Array.from({ length: 3000 }, (_, n) => store.commit(put(`blob!sha256:${n}`, `{"n":${n}}`))),
  );
  const state = { stop: false };
  const lanes = Array.from({ length: 6 }, async (_, lane) => {
    while (!state.stop) await traffic(store, `l${lane}`, 5);
  });
  for (let turn = 0; turn < 3; turn++) {
    const manifest = await recorder.snapshot();
    expect(manifest.through).toBeGreaterThanOrEqual(manifest.from);
    expect(manifest.entries).toBeGreaterThanOrEqual(3000);
  }
  state.stop = true;
  await Promise.all(lanes);
  const { store: copy, commits } = await bench.rebuilt();
  expect(await stateHash(copy)).toBe(await stateHash(plain));
  expect(commits).toBeLessThan(3000);
});

test("a journal that knows more than the database, or another installation, stops the start", async () => {
  await using bench = new Bench();
  const { store, plain, recorder } = await bench.recorded();
  await traffic(store, "a", 10);
  await recorder.close();
  const empty = bench.store();
  expect(await failureOf(bench.recorder(empty))).toBeInstanceOf(JournalAhead);
  const foreign = await failureOf(bench.recorder(plain, { installation: "ffff" }));
  expect(foreign).toBeInstanceOf(JournalForeign);
});

test("a database that was put back is told by what the journal has beyond a gap, too", async () => {
  await using bench = new Bench();
  const { store, recorder } = await bench.recorded();
  for (let turn = 0; turn < 5; turn++) await store.commit(put(`tag!a!${turn}`));
  await recorder.close();
  const objects = await bench.objects();
  const { segments } = await takeInventory(objects);
  const first = segments.find(({ after }) => after === 0);
  await objects.delete(first?.name ?? "none");
  const older = bench.store();
  await older.commit(put("tag!a!0"));
  expect(await failureOf(bench.recorder(older))).toBeInstanceOf(JournalAhead);
});

test("of a store that is being rebuilt no snapshot is made, nor of one that begins to be", async () => {
  await using bench = new Bench();
  const objects = await bench.objects();
  const plain = bench.store();
  const mark = put(keys.restoring);
  const recorder = await bench.recorder(plain, {
    objects: {
      put: async (name, bytes, options) => {
        if (name.startsWith("journal/parts/")) await plain.commit(mark);
        return objects.put(name, bytes, options);
      },
      get: (name) => objects.get(name),
      list: (prefix) => objects.list(prefix),
      delete: (name) => objects.delete(name),
    },
  });
  await traffic(journaled(plain, recorder), "a", 5);
  for (let turn = 0; turn < 2; turn++)
    expect(await failureOf(recorder.snapshot())).toBeInstanceOf(StoreUnavailable);
  expect((await takeInventory(objects)).snapshots).toEqual([]);
  expect((await Array.fromAsync(objects.list("journal/parts/"))).length).toBe(1);
  await plain.commit({ delete: [keys.restoring] });
});

test("a database that goes back under a running recorder is not recorded", async () => {
  await using bench = new Bench();
  const { store, plain, recorder } = await bench.recorded();
  await traffic(store, "a", 30);
  await recorder.close();
  // The same journal, followed through a handle that fails over to a store which lacks the last commits.
  const lagging = bench.store();
  let current: MetaStore = plain;
  const next = await bench.recorder({
    operationsMax: 100,
    get: (asked) => current.get(asked),
    scan: (options) => current.scan(options),
    commit: (commit) => current.commit(commit),
    watch: (options) => current.watch(options),
    close: async () => {},
  });
  await traffic(journaled(plain, next), "b", 3);
  current = lagging;
  await plain.close();
  await Bun.sleep(2700);
  expect(() => next.requireRecording()).toThrow("went back");
}, 20_000);

test("with the journal's directory away commits are refused in 2 to 3 s, then at once; back, all goes on", async () => {
  await using bench = new Bench();
  const { store, plain, recorder } = await bench.recorded();
  await traffic(store, "a", 5);
  renameSync(bench.journal, `${bench.journal}-away`);
  const refused = async (key: string) => {
    const started = performance.now();
    const failure = await failureOf(store.commit(put(key)));
    expect(failure).toBeInstanceOf(StoreUnavailable);
    return performance.now() - started;
  };
  const times = await Promise.all([refused("tag!b!1"), refused("tag!b!2")]);
  for (const time of times) {
    expect(time).toBeGreaterThan(1900);
    expect(time).toBeLessThan(3000);
  }
  const { revision } = await plain.get([]);
  expect(await refused("tag!b!3")).toBeLessThan(100);
  expect((await plain.get([])).revision).toBe(revision);
  // What is not the journal's goes on.
  expect((await store.commit(put(keys.upload("x")))).ok).toBe(true);
  expect((await store.get(["tag!a!latest"])).entries[0]).toBeDefined();
  expect(recorder.status().trouble).toContain("the journal cannot be written");
  renameSync(`${bench.journal}-away`, bench.journal);
  await Bun.sleep(1200);
  await traffic(store, "c", 5);
  expect(recorder.status().trouble).toBeUndefined();
  const { store: copy } = await bench.rebuilt();
  expect(await stateHash(copy)).toBe(await stateHash(plain));
});

test("while the journal is away memory is bounded, and what was not kept is read again", async () => {
  await using bench = new Bench();
  const { plain, recorder } = await bench.recorded("behind", { bufferMax: 100_000 });
  await traffic(plain, "a", 5);
  renameSync(bench.journal, `${bench.journal}-away`);
  const value = JSON.stringify("x".repeat(1000));
  for (let turn = 0; turn < 1000; turn++) await plain.commit(put(`blob!${turn}`, value));
  await Bun.sleep(1200);
  expect(recorder.status().behind.commits).toBeLessThan(110);
  expect(recorder.status().heard).toBeLessThan(200);
  renameSync(`${bench.journal}-away`, bench.journal);
  const { revision } = await plain.get([]);
  while (recorder.status().covered < revision) await Bun.sleep(20);
  const { store: copy } = await bench.rebuilt();
  expect(await stateHash(copy)).toBe(await stateHash(plain));
}, 20_000);

describe("two recorders", () => {
  test("write every commit between them, and neither writes what the other has told of", async () => {
    await using bench = new Bench();
    const plain = bench.store();
    const a = await bench.recorder(plain, { shared: true, writer: "a" });
    const b = await bench.recorder(plain, { shared: true, writer: "b" });
    const [one, two] = [journaled(plain, a), journaled(plain, b)];
    await Promise.all([traffic(one, "a", 50), traffic(two, "b", 50)]);
    const alone = b.status().segments;
    for (let turn = 0; turn < 35; turn++) {
      await traffic(one, "c", 2);
      await Bun.sleep(100);
    }
    expect(b.status().segments - alone).toBeLessThanOrEqual(1);
    expect(b.status().behind.ms).toBeLessThan(2000);
    const { store: copy } = await bench.rebuilt();
    expect(await stateHash(copy)).toBe(await stateHash(plain));
  }, 20_000);

  test("what a dead node has left uncovered is written by the other", async () => {
    await using bench = new Bench();
    const plain = bench.store();
    const b = await bench.recorder(plain, { shared: true, writer: "b" });
    // Committed by one that died before its journal.
    await traffic(plain, "a", 20);
    expect(b.status().behind.commits).toBeGreaterThan(10);
    await Bun.sleep(2300);
    expect(b.status().behind.commits).toBe(0);
    const { store: copy } = await bench.rebuilt();
    expect(await stateHash(copy)).toBe(await stateHash(plain));
  }, 20_000);
});

test("a journal that is lost whole is begun anew", async () => {
  await using bench = new Bench();
  const { store, plain, recorder } = await bench.recorded();
  await traffic(store, "a", 20);
  await recorder.close();
  rmSync(bench.journal, { recursive: true });
  const next = await bench.recorder(plain, { log: quiet });
  await traffic(journaled(plain, next), "b", 20);
  const { store: copy } = await bench.rebuilt();
  expect(await stateHash(copy)).toBe(await stateHash(plain));
});

test.each([
  ["emptied", []],
  [
    "emptied, and begun by another installation",
    [{ key: keys.installation, value: '{"id":"other"}' }],
  ],
])(
  "that the database was %s is not written down, nor is anything of afterwards",
  async (_, anew) => {
    await using bench = new Bench();
    const { store, plain, recorder } = await bench.recorded();
    await traffic(store, "a", 10);
    const hash = await stateHash(plain);
    const { entries } = await plain.scan({ prefix: "", limit: 100, keysOnly: true });
    await plain.commit({ delete: entries.map(({ key }) => key) });
    await plain.commit({ put: [...anew, ...put("tag!b!x").put] });
    const deadline = performance.now() + 5000;
    while (recorder.status().trouble === undefined && performance.now() < deadline)
      await Bun.sleep(20);
    expect(recorder.status().trouble).toContain("run `holdfast rebuild`");
    if (anew.length === 0)
      expect(await failureOf(recorder.snapshot())).toBeInstanceOf(JournalError);
    await recorder.close();
    const restored = await bench.rebuilt();
    expect(await stateHash(restored.store)).toBe(hash);
    expect(restored.wiped).toBeUndefined();
  },
);
