import { afterEach, describe, expect, test } from "bun:test";
import fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { keys } from "../../meta/keys.ts";
import { StoreUnavailable, type MetaStore } from "../../meta/port.ts";
import { Presence } from "../../meta/presence.ts";
import { openWriter } from "../../meta/sqlite/index.ts";
import type { NodeRecord, Nodes } from "../node.ts";
import {
  drainNode,
  foundNodes,
  NodeRefused,
  noteSpace,
  registerNode,
  removeNode,
  undrainNode,
} from "./membership.ts";
import { openNodes } from "./nodes.ts";

const ends: (() => PromiseLike<void>)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

function openMeta(historyMax?: number): MetaStore {
  const directory = fs.mkdtempSync(join(tmpdir(), "holdfast-nodes-"));
  const meta = openWriter({
    path: join(directory, "meta.db"),
    ...(historyMax === undefined ? {} : { historyMax }),
  });
  ends.push(async () => {
    await meta.close();
    fs.rmSync(directory, { recursive: true });
  });
  return meta;
}

async function begin(meta: MetaStore, run: string): Promise<Presence> {
  const presence = await Presence.begin({ meta, run });
  ends.push(() => presence[Symbol.asyncDispose]());
  return presence;
}

async function open(meta: MetaStore, presence: Presence, self: string): Promise<Nodes> {
  const nodes = await openNodes({ meta, presence, self });
  ends.push(() => nodes[Symbol.asyncDispose]());
  return nodes;
}

const node = (name: string, run: string, more: Partial<NodeRecord> = {}): NodeRecord => ({
  name,
  address: `${name}:5080`,
  store: `store-${name}`,
  run,
  ...more,
});

/** Waits until `probe` is true. */
async function until(probe: () => boolean, ms = 5000): Promise<void> {
  const deadline = performance.now() + ms;
  while (!probe()) {
    if (performance.now() > deadline) throw new Error(`not within ${ms} ms: ${probe.toString()}`);
    await Bun.sleep(10);
  }
}

async function recordOf(meta: MetaStore, name: string): Promise<NodeRecord | undefined> {
  const [entry] = (await meta.get([keys.node(name)])).entries;
  return entry && (JSON.parse(entry.value) as NodeRecord);
}

describe("the nodes", () => {
  test("are those that are written down, live while their process beats", async () => {
    const meta = openMeta();
    const a = await begin(meta, "run-a");
    const b = await begin(meta, "run-b");
    await registerNode(meta, a, node("b", "run-b"));
    await registerNode(meta, a, node("a", "run-a"));
    await meta.commit({
      put: [{ key: keys.node("c"), value: JSON.stringify({ name: "c", address: "c:5080" }) }],
    });
    const nodes = await open(meta, a, "a");
    expect(nodes.all().map(({ name, isLive }) => [name, isLive])).toEqual([
      ["a", true],
      ["b", true],
      ["c", false],
    ]);
    let told = 0;
    nodes.onChange(() => told++);
    await a.buried(b.run);
    await until(() => nodes.all()[1]?.isLive === false);
    expect(told).toBeGreaterThan(0);
    const down = nodes.all()[1]?.downSince ?? Infinity;
    expect(performance.now() - down).toBeLessThan(2000);
    // Its next beat.
    await until(() => nodes.all()[1]?.isLive === true);
    expect(nodes.all()[1]?.downSince).toBeUndefined();
  });

  test("are seen by a process that is not seen itself", async () => {
    const meta = openMeta();
    await begin(meta, "run-a");
    const looking = await Presence.begin({ meta, run: "worker", isSeen: false });
    ends.push(() => looking[Symbol.asyncDispose]());
    expect(await looking.isAlive("run-a")).toBe(true);
    expect(await looking.isAlive("run-b")).toBe(false);
    const { entries } = await meta.scan({ prefix: keys.alives, limit: 10 });
    expect(entries.map(({ key }) => key)).toEqual([keys.alive("run-a")]);
  });

  test("come, change and go while they are followed", async () => {
    const meta = openMeta();
    const a = await begin(meta, "run-a");
    await registerNode(meta, a, node("a", "run-a"));
    const nodes = await open(meta, a, "a");
    await registerNode(meta, a, node("b", "run-a"));
    await until(() => nodes.all().length === 2);
    await drainNode(meta, "b");
    await until(() => nodes.all()[1]?.draining === true);
    await removeNode(meta, a, "b", { isDrained: false, force: true });
    await until(() => nodes.all().length === 1);
  });

  test("are right again when changes were missed", async () => {
    const meta = openMeta(3);
    const a = await begin(meta, "run-a");
    for (const name of ["a", "b"]) await registerNode(meta, a, node(name, "run-a"));
    let isAway = false;
    const broken: MetaStore = {
      operationsMax: meta.operationsMax,
      get: (keys) => meta.get(keys),
      scan: (options) => meta.scan(options),
      commit: (commit) => meta.commit(commit),
      async *watch(options) {
        for await (const change of meta.watch(options)) {
          if (isAway) throw new StoreUnavailable("away");
          yield change;
        }
      },
      close: () => meta.close(),
    };
    const nodes = await open(broken, a, "a");
    isAway = true;
    await registerNode(meta, a, node("c", "run-a"));
    await removeNode(meta, a, "b", { isDrained: false, force: true });
    for (let i = 0; i < 10; i++) await meta.commit({ put: [{ key: "x!x", value: String(i) }] });
    await Bun.sleep(50);
    isAway = false;
    await until(() =>
      nodes
        .all()
        .map(({ name }) => name)
        .join()
        .startsWith("a,c"),
    );
  });

  test("one that failed a request is not live for a second, and nobody is told", async () => {
    const meta = openMeta();
    const a = await begin(meta, "run-a");
    await begin(meta, "run-b");
    await registerNode(meta, a, node("a", "run-a"));
    await registerNode(meta, a, node("b", "run-b"));
    const nodes = await open(meta, a, "a");
    let told = 0;
    nodes.onChange(() => told++);
    nodes.failed("b");
    nodes.failed("a");
    expect(nodes.all().map(({ isLive }) => isLive)).toEqual([true, false]);
    expect(nodes.all()[1]?.downSince).toBeNumber();
    await Bun.sleep(1010);
    expect(nodes.all().map(({ isLive }) => isLive)).toEqual([true, true]);
    expect(told).toBe(0);
  });

  test("stay usable while the metadata cannot be reached", async () => {
    const meta = openMeta();
    const a = await begin(meta, "run-a");
    await registerNode(meta, a, node("a", "run-a"));
    await meta.commit({
      put: [{ key: keys.node("b"), value: JSON.stringify(node("b", "run-dead")) }],
    });
    let isAway = false;
    const presence = {
      isAlive: async (run: string) => {
        if (isAway) throw new StoreUnavailable("away");
        return a.isAlive(run);
      },
    };
    const nodes = await openNodes({ meta, presence, self: "a" });
    ends.push(() => nodes[Symbol.asyncDispose]());
    const since = nodes.all()[1]?.downSince;
    expect(since).toBeNumber();
    isAway = true;
    await until(() => nodes.all()[1]?.isLive === true);
    nodes.failed("b");
    expect(nodes.all()[1]?.isLive).toBe(false);
    isAway = false;
    await until(() => nodes.all()[1]?.downSince === since);
  });
});

test("a cluster that was formed knows all its nodes, and takes none back", async () => {
  const meta = openMeta();
  const a = await begin(meta, "run-a");
  const seats = ["a", "b"].map((name) => ({ name, address: `${name}:5080`, etcd: "more" }));
  await Promise.all([foundNodes(meta, seats), foundNodes(meta, seats)]);
  expect(await recordOf(meta, "b")).toEqual({ name: "b", address: "b:5080" });
  await registerNode(meta, a, node("a", "run-a"));
  await removeNode(meta, a, "b", { isDrained: false, force: false });
  await foundNodes(meta, seats);
  expect(await recordOf(meta, "b")).toBeUndefined();
  expect(await recordOf(meta, "a")).toEqual(node("a", "run-a"));
});

describe("a node that starts", () => {
  test("keeps that it is being drained, unless its disk was emptied", async () => {
    const meta = openMeta();
    const a = await begin(meta, "run-1");
    await registerNode(meta, a, node("n", "run-1"));
    await drainNode(meta, "n");
    await registerNode(meta, a, node("n", "run-2", { version: "2" }));
    expect(await recordOf(meta, "n")).toEqual(node("n", "run-2", { version: "2", draining: true }));
    await registerNode(meta, a, node("n", "run-3", { store: "new" }));
    expect(await recordOf(meta, "n")).toEqual(node("n", "run-3", { store: "new" }));
    await drainNode(meta, "n");
    await undrainNode(meta, "n");
    expect(await recordOf(meta, "n")).toEqual(node("n", "run-3", { store: "new" }));
  });

  test("takes no name of one that lives, and that of one that has ended", async () => {
    const meta = openMeta();
    const a = await begin(meta, "run-a");
    const other = await begin(meta, "run-other");
    await registerNode(meta, other, node("n", "run-other"));
    for (const more of [{ store: "another" }, { address: "elsewhere:5080" }]) {
      const refused = registerNode(meta, a, node("n", "run-a", more), { patienceMs: 50 });
      expect(refused).rejects.toThrow(NodeRefused);
      expect(refused).rejects.toThrow(/duplicate name.*n:5080/);
      await refused.catch(() => {});
    }
    expect((await recordOf(meta, "n"))?.run).toBe("run-other");
    const waiting = registerNode(meta, a, node("n", "run-a", { store: "another" }));
    await other[Symbol.asyncDispose]();
    await waiting;
    expect((await recordOf(meta, "n"))?.store).toBe("another");
  });
});

test("a node is removed when it is dead, drained, or by force", async () => {
  const meta = openMeta();
  const a = await begin(meta, "run-a");
  const remove = (isDrained: boolean, force: boolean) =>
    removeNode(meta, a, "n", { isDrained, force });
  expect(remove(true, true)).rejects.toThrow(/there is no node "n"/);
  const again = async () => {
    await registerNode(meta, a, node("n", "run-a"));
    await meta.commit({ put: [{ key: keys.healing("n"), value: "{}" }] });
  };
  await again();
  expect(await remove(true, false).catch(String)).toMatch(/drain it first/);
  await drainNode(meta, "n");
  expect(await remove(false, false).catch(String)).toMatch(/still being drained/);
  expect(await recordOf(meta, "n")).toBeDefined();
  await remove(true, false);
  expect((await meta.get([keys.node("n"), keys.healing("n")])).entries).toEqual([
    undefined,
    undefined,
  ]);
  await again();
  await remove(false, true);
  await registerNode(meta, a, node("n", "run-dead"));
  await remove(false, false);
  expect(await recordOf(meta, "n")).toBeUndefined();
});

test("space is written when it has changed", async () => {
  const meta = openMeta();
  const a = await begin(meta, "run-a");
  await noteSpace(meta, "n", { free: 1, total: 2 });
  expect(await recordOf(meta, "n")).toBeUndefined();
  await registerNode(meta, a, node("n", "run-a"));
  const free = async () => (await recordOf(meta, "n"))?.space?.free;
  await noteSpace(meta, "n", { free: 500, total: 1000 });
  expect(await free()).toBe(500);
  await noteSpace(meta, "n", { free: 509, total: 1000 });
  expect(await free()).toBe(500);
  await noteSpace(meta, "n", { free: 511, total: 1000 });
  expect(await free()).toBe(511);
});

test("a store that was nearly full is so until there is room to spare, over restarts, and not when it is emptied", async () => {
  const meta = openMeta();
  const a = await begin(meta, "run-a");
  const [total, gib] = [100 * 2 ** 30, 2 ** 30];
  const isFull = async () => (await recordOf(meta, "n"))?.space?.nearlyFull;
  const note = async (free: number) => {
    await noteSpace(meta, "n", { free, total });
    return isFull();
  };
  await registerNode(meta, a, node("n", "run-a"));
  expect(await note(5.1 * gib)).toBe(false);
  // Less than is worth a note otherwise.
  expect(await note(4.9 * gib)).toBe(true);
  expect(await note(9 * gib)).toBe(true);
  await registerNode(meta, a, node("n", "run-a"));
  expect(await note(9 * gib)).toBe(true);
  expect(await note(10 * gib)).toBe(false);
  expect(await note(4 * gib)).toBe(true);
  await registerNode(meta, a, node("n", "run-a", { store: "another" }));
  expect(await isFull()).toBeUndefined();
  expect(await note(9 * gib)).toBe(false);
});
