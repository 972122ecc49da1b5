/**
 * Nodes killed at any moment: a store rebuilt from the journal alone holds every commit that was answered for, whole
 * and in order. `HOLDFAST_JOURNAL_ROUNDS` sets the rounds.
 */
import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "bun:test";
import { failureOf, randomBytes } from "../../src/blobs/conformance-tools.ts";
import { openFileObjects } from "../../src/blobs/file/objects.ts";
import { systemClock } from "../../src/base/clock.ts";
import {
  journaled,
  restore,
  type Restored,
  startRecorder,
  stateHash,
} from "../../src/journal/index.ts";
import { install, quiet, traffic } from "../../src/journal/journal-fixture.ts";
import { type MetaStore, StoreUnavailable } from "../../src/meta/port.ts";
import { openWriter } from "../../src/meta/sqlite/index.ts";
import { spawnWriter } from "../../src/meta/sqlite/processes/spawn.ts";

const ROUNDS = Number(process.env["HOLDFAST_JOURNAL_ROUNDS"] ?? 20);
const root = mkdtempSync(join(tmpdir(), "holdfast-journal-faults-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

interface Node {
  /** Kills it; what it had answered for by then, by lane. */
  kill(): Promise<Map<string, number>>;
}

function startNode(
  path: string,
  socket: string,
  journal: string,
  name: string,
  lane: number,
): Node {
  const script = join(import.meta.dir, "journal-node.ts");
  const child = Bun.spawn([process.execPath, script, path, socket, journal, name, `${lane}`], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const output = new Response(child.stdout).text();
  return {
    async kill() {
      child.kill("SIGKILL");
      await child.exited;
      const lines = (await output).split("\n").slice(0, -1);
      return new Map(
        lines.map((line) => line.split(" ") as [string, string]).map(([id, n]) => [id, Number(n)]),
      );
    },
  };
}

/** A store from the journal; `directory` must not be there. */
async function rebuild(journal: string, directory: string): Promise<Restored> {
  const path = join(directory, "holdfast.db");
  return restore({
    objects: await openFileObjects(journal),
    open: (above) => Promise.resolve(openWriter(above === undefined ? { path } : { path, above })),
    clock: systemClock,
  });
}

/** Every lane is whole up to its last commit, which is at least the last one answered for and at most the next. */
async function checkLanes(store: MetaStore, answered: ReadonlyMap<string, number>): Promise<void> {
  for (const [lane, least] of answered) {
    const { entries } = await store.get([`repo!${lane}`]);
    const last = Number(entries[0]?.value ?? 0);
    expect(last).toBeGreaterThanOrEqual(least);
    expect(last).toBeLessThanOrEqual(least + 1);
    const tags = await store.scan({ prefix: `tag!${lane}!`, limit: 1_000_000, keysOnly: true });
    expect(tags.entries.length).toBe(last);
    const blobs = await store.scan({ prefix: `blob!${lane}!`, limit: 10, keysOnly: true });
    const kept = [last - 2, last - 1, last].filter((n) => n > 0);
    expect(blobs.entries.map(({ key }) => key)).toEqual(
      kept.map((n) => `blob!${lane}!${n}`).sort(),
    );
  }
}

test(
  `kill -9 of the one node, ${ROUNDS} rounds, the database lost in every second one`,
  async () => {
    const journal = join(root, "solo-journal");
    const data = join(root, "solo");
    const path = join(data, "holdfast.db");
    const answered = new Map<string, number>();
    let commits = 0;
    for (let round = 0; round < ROUNDS; round++) {
      const node = startNode(path, "", journal, "solo", 0);
      await Bun.sleep(250 + Math.random() * 400);
      for (const [lane, n] of await node.kill()) {
        commits += n - (answered.get(lane) ?? 0);
        answered.set(lane, n);
      }
      if (round % 2 === 0) {
        // The very moment of the loss: nothing but the journal is left.
        rmSync(data, { recursive: true, force: true });
        const { store } = await rebuild(journal, data);
        await checkLanes(store, answered);
        await store.close();
      } else {
        // It survives: what was not in the journal yet comes to it, and the two are equal.
        const survivor = openWriter({ path });
        const objects = await openFileObjects(journal);
        const common = { objects, clock: systemClock, log: quiet, installation: "test" };
        const recorder = await startRecorder({
          ...common,
          store: survivor,
          writer: "solo",
          mode: "behind",
          shared: false,
        });
        await recorder.close();
        await checkLanes(survivor, answered);
        const copied = join(root, "copy");
        cpSync(journal, join(copied, "journal"), { recursive: true });
        const { store } = await rebuild(join(copied, "journal"), join(copied, "meta"));
        expect(await stateHash(store)).toBe(await stateHash(survivor));
        await store.close();
        await survivor.close();
        rmSync(copied, { recursive: true });
      }
      // What was committed but not answered for is a fact now.
      await noteLast(path, answered);
    }
    expect(commits).toBeGreaterThan(ROUNDS * 20);
    console.log(`${ROUNDS} rounds, ${commits} commits answered for, none lost`);
  },
  ROUNDS * 10_000,
);

async function noteLast(path: string, answered: Map<string, number>): Promise<void> {
  const store = openWriter({ path });
  for (const lane of answered.keys()) {
    const { entries } = await store.get([`repo!${lane}`]);
    answered.set(lane, Number(entries[0]?.value ?? 0));
  }
  await store.close();
}

test("one of two nodes dies again and again, then everything at once", async () => {
  const journal = join(root, "pair-journal");
  const place = { path: join(root, "pair", "holdfast.db"), socket: join(root, "pair", "s.sock") };
  const database = await spawnWriter({ ...place, remove() {} }, 1_000_000);
  const start = (index: number) =>
    startNode(place.path, place.socket, journal, `n${index}`, index * 4);
  const nodes = [start(0), start(1)];
  const answered = new Map<string, number>();
  for (let round = 0; round < 8; round++) {
    await Bun.sleep(300 + Math.random() * 500);
    const index = Math.random() < 0.5 ? 0 : 1;
    for (const [lane, n] of (await nodes[index]?.kill()) ?? []) answered.set(lane, n);
    nodes[index] = start(index);
  }
  await Bun.sleep(600);
  const dying = nodes.map((node) => node.kill());
  database.kill("SIGKILL");
  for (const map of await Promise.all(dying)) for (const [lane, n] of map) answered.set(lane, n);
  await database.exited;
  const { store, torn } = await rebuild(journal, join(root, "pair-rebuilt"));
  expect(torn).toEqual([]);
  expect(answered.size).toBe(8);
  await checkLanes(store, answered);
  await store.close();
}, 60_000);

const mountable = spawnSync("unshare", ["-m", "true"]).status === 0 && process.getuid?.() === 0;
test.skipIf(!mountable && process.env["CI"] === undefined)(
  "no room for the journal (needs root, to mount a small tmpfs): commits are refused until there is",
  async () => {
    const journal = mkdtempSync(join(root, "full-"));
    expect(spawnSync("mount", ["-t", "tmpfs", "-o", "size=2m", "none", journal]).status).toBe(0);
    try {
      const plain = openWriter({ path: join(root, "full", "holdfast.db") });
      await install(plain);
      const objects = await openFileObjects(journal);
      const recorder = await startRecorder({
        store: plain,
        objects,
        writer: "one",
        installation: "test",
        mode: "before-answer",
        shared: false,
        clock: systemClock,
        log: quiet,
      });
      const store = journaled(plain, recorder);
      await traffic(store, "a", 10);
      await Bun.write(join(journal, "ballast"), randomBytes(2 ** 21)).catch(() => {});
      const started = performance.now();
      const failure = await failureOf(traffic(store, "b", 1000));
      expect(failure).toBeInstanceOf(StoreUnavailable);
      expect(performance.now() - started).toBeLessThan(4000);
      expect(String(failure)).toContain("the journal cannot be written: no space left");
      rmSync(join(journal, "ballast"));
      await Bun.sleep(1200);
      await traffic(store, "c", 10);
      await recorder.close();
      const { store: copy } = await rebuild(journal, join(root, "full-rebuilt"));
      expect(await stateHash(copy)).toBe(await stateHash(plain));
      await copy.close();
      await plain.close();
    } finally {
      spawnSync("umount", ["-l", journal]);
    }
  },
  30_000,
);
