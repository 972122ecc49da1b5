import { afterEach, describe, expect, test } from "bun:test";
import fs from "node:fs";
import { join } from "node:path";
import { bodyOf, randomBytes } from "../../blobs/conformance-tools.ts";
import type { StoredBlob } from "../../blobs/port.ts";
import { keys } from "../../meta/keys.ts";
import { StoreUnavailable } from "../../meta/port.ts";
import { drainNode, removeNode } from "../nodes/membership.ts";
import { placement } from "../placement.ts";
import { holdsAll, TestCluster, until, type TestNode } from "./healing-fixture.ts";

let cluster: TestCluster | undefined;
afterEach(async () => {
  await cluster?.[Symbol.asyncDispose]();
  cluster = undefined;
});

function open(): TestCluster {
  cluster = new TestCluster();
  return cluster;
}

async function pushMany(
  cluster: TestCluster,
  holders: readonly TestNode[],
  count: number,
): Promise<StoredBlob[]> {
  // One of no bytes: two of equal bytes would be one blob.
  const sizes = Array.from({ length: count }, (_, i) =>
    i === 0 ? 0 : ([12, 3000, 70_000, 300_000][i % 4] ?? 0),
  );
  return Promise.all(sizes.map((size) => cluster.push(randomBytes(size), holders)));
}

const isWhole = async (cluster: TestCluster, node: TestNode, copies = 3) =>
  (await cluster.healing(node, copies)).underReplicated === 0;

/** How many of the nodes hold it. */
async function countCopies(nodes: readonly TestNode[], blob: StoredBlob): Promise<number> {
  const found = await Promise.all(nodes.map(({ store }) => store.stat(blob.locator)));
  return found.filter((size) => size === blob.size).length;
}

describe("what a store should hold and does not is fetched:", () => {
  test("an emptied disk is filled again, and zero is not claimed before", async () => {
    const cluster = open();
    const [a, b, c] = [
      await cluster.start("a"),
      await cluster.start("b"),
      await cluster.start("c"),
    ];
    const blobs = await pushMany(cluster, [a, b, c], 60);
    await until(() => isWhole(cluster, a));
    await c.kill();
    // Before a has noticed.
    expect((await cluster.healing(a)).underReplicated).toBeUndefined();
    const seen: (number | undefined)[] = [];
    const anew = await cluster.start("c", { emptied: true, bytesPerSecond: 8_000_000 });
    expect(await holdsAll(anew, blobs)).toBe(false);
    await until(async () => {
      const { underReplicated, missingBytes, timeToZeroMs } = await cluster.healing(a);
      seen.push(underReplicated);
      if (underReplicated === 0) {
        expect(await holdsAll(anew, blobs)).toBe(true);
        expect([missingBytes, timeToZeroMs]).toEqual([0, 0]);
      }
      return underReplicated === 0;
    });
    expect(seen[0]).toBeUndefined();
    expect(seen.filter((n) => n !== undefined && n > 0).length).toBeGreaterThan(0);
    for (const blob of blobs) {
      const own = await bodyOf(anew.store, blob);
      expect(Buffer.compare(own, await bodyOf(a.store, blob))).toBe(0);
    }
  }, 30_000);

  test("a node that is added takes its part, one that is drained gives its own away", async () => {
    const cluster = open();
    const start = (name: string) => cluster.start(name, { copies: 2 });
    const [a, b] = [await start("a"), await start("b")];
    const blobs = await pushMany(cluster, [a, b], 40);
    await until(() => isWhole(cluster, a, 2));
    const c = await start("c");
    await until(() => isWhole(cluster, a, 2));
    const taken = (await Promise.all(blobs.map((blob) => c.store.stat(blob.locator)))).filter(
      (size) => size !== undefined,
    ).length;
    expect(taken).toBeGreaterThan(10);
    expect(taken).toBeLessThan(40);

    await drainNode(cluster.meta, "a");
    const presence = { isAlive: () => Promise.resolve(true) };
    const remove = (isDrained: boolean) =>
      removeNode(cluster.meta, presence, "a", { isDrained, force: false });
    expect(remove(false)).rejects.toThrow(/still being drained/);
    await until(() => b.nodes.all()[0]?.draining === true);
    await until(() => isWhole(cluster, b, 2));
    for (const blob of blobs) expect(await countCopies([b, c], blob)).toBe(2);
    await remove(true);
    await a.kill();
    await until(async () => b.nodes.all().length === 2 && (await isWhole(cluster, b, 2)));
  }, 30_000);

  test("a node's place is kept for a while after it went down, and taken by others then", async () => {
    const cluster = open();
    const start = (name: string) => cluster.start(name, { copies: 2 });
    const nodes = [];
    for (const name of ["a", "b", "c"]) nodes.push(await start(name));
    const [a, b, c] = nodes;
    if (!a || !b || !c) throw new Error("three nodes");
    const blobs = await pushMany(cluster, [a, b, c], 30);
    await until(() => isWhole(cluster, a, 2));
    // Until they are not new any more.
    await Bun.sleep(400);
    // As after a removal of surplus copies: one more is left, beside that of c.
    for (const [i, blob] of blobs.entries()) await (i % 2 ? a : b).store.delete(blob.locator);
    await c.kill();
    const killed = performance.now();
    await until(async () => ((await cluster.healing(a, 2)).underReplicated ?? 0) > 0);
    await until(() => isWhole(cluster, a, 2), 20_000);
    expect(performance.now() - killed).toBeGreaterThan(3900);
    for (const blob of blobs) expect(await countCopies([a, b], blob)).toBe(2);
  }, 40_000);

  test("a new blob whose third copy did not come, and one that a read has missed", async () => {
    const cluster = open();
    const [a, b, c] = [
      await cluster.start("a"),
      await cluster.start("b"),
      await cluster.start("c"),
    ];
    await until(() => isWhole(cluster, a));
    const pushed = await cluster.push(randomBytes(100_000), [a, b]);
    await until(() => holdsAll(c, [pushed]), 3000);
    await c.store.delete(pushed.locator);
    c.healer.want(pushed.locator, pushed.size);
    await until(() => holdsAll(c, [pushed]), 3000);
  }, 20_000);

  test("a copy of another size, and bytes that are wrong on the way", async () => {
    const cluster = open();
    const [a, b] = [await cluster.start("a"), await cluster.start("b")];
    const push = (size: number) => cluster.push(randomBytes(size), [a, b]);
    const cut = [await push(100_000), await push(3000)];
    const turned = [await push(100_000), await push(3000)];
    for (const { locator, size } of cut) fs.truncateSync(join(b.directory, locator), size / 2);
    for (const { locator } of turned) {
      const path = join(a.directory, locator);
      const bytes = fs.readFileSync(path);
      bytes[2000] = (bytes[2000] ?? 0) ^ 1;
      fs.writeFileSync(path, bytes);
    }
    const c = await cluster.start("c");
    await until(() => isWhole(cluster, a));
    expect(b.lines.filter((line) => line.includes("rotten"))).toHaveLength(2);
    for (const blob of cut) {
      const right = await bodyOf(a.store, blob);
      for (const { store } of [b, c])
        expect(Buffer.compare(await bodyOf(store, blob), right)).toBe(0);
    }
    for (const blob of turned) {
      const right = await bodyOf(b.store, blob);
      expect(Buffer.compare(await bodyOf(c.store, blob), right)).toBe(0);
    }
  }, 20_000);
});

test("a blob that is deleted while it is copied does not come back", async () => {
  const cluster = open();
  const a = await cluster.start("a");
  const blobs = await pushMany(cluster, [a], 5);
  const large = await cluster.push(randomBytes(3_000_000), [a]);
  const digest = a.store.digestOf(large.locator);
  if (digest === undefined) throw new Error("no digest");
  const remove = async () => {
    await cluster.remove(digest);
    await a.store.delete(large.locator);
  };
  // b: while bytes stream; c: after they have got their name.
  const b = await cluster.start("b", { bytesPerSecond: 1_000_000 });
  await until(() => b.healer.numbers().repairs.length > 0);
  await remove();
  await until(() => holdsAll(b, blobs));
  await until(() => b.healer.numbers().missing === 0);
  expect(await b.store.stat(large.locator)).toBeUndefined();

  const again = await cluster.push(randomBytes(500_000), [a]);
  const wanted = a.store.digestOf(again.locator);
  if (wanted === undefined) throw new Error("no digest");
  const c = await cluster.start("c", {
    wrap: (store) =>
      new Proxy(store, {
        get(target, name) {
          const value: unknown = Reflect.get(target, name);
          if (name !== "upload") return typeof value === "function" ? value.bind(target) : value;
          return async (...upload: Parameters<typeof target.upload>) => {
            const held = await target.upload(...upload);
            const commitAs = held.commitAs.bind(held);
            held.commitAs = async (locator, ...rest) => {
              const stored = await commitAs(locator, ...rest);
              if (locator === again.locator) await cluster.remove(wanted);
              return stored;
            };
            return held;
          };
        },
      }),
  });
  await until(() => holdsAll(c, blobs));
  await until(() => c.healer.numbers().missing === 0);
  expect(await c.store.stat(again.locator)).toBeUndefined();
}, 30_000);

test("a push while a node is down is under-replicated", async () => {
  const cluster = open();
  const [a, b, c] = [await cluster.start("a"), await cluster.start("b"), await cluster.start("c")];
  await c.kill();
  await until(() => isWhole(cluster, a).then((zero) => zero && a.nodes.all()[2]?.isLive === false));
  await Bun.sleep(2500);
  await until(() => isWhole(cluster, a));
  await cluster.push(randomBytes(1000), [a, b]);
  await until(async () => (await cluster.healing(b)).underReplicated === 1, 5000);
  await cluster.start("c");
  await until(() => isWhole(cluster, a));
}, 20_000);

test("a blob that nobody has is under-replicated until it is deleted", async () => {
  const cluster = open();
  const [a, b] = [await cluster.start("a"), await cluster.start("b")];
  await until(() => isWhole(cluster, a));
  const lost = await cluster.push(randomBytes(1000), [a, b]);
  for (const { store } of [a, b]) await store.delete(lost.locator);
  await until(async () => (await cluster.healing(a)).underReplicated === 1);
  await Bun.sleep(500);
  expect((await cluster.healing(b)).underReplicated).toBe(1);
  const digest = a.store.digestOf(lost.locator);
  if (digest === undefined) throw new Error("no digest");
  await cluster.remove(digest);
  await until(() => isWhole(cluster, a));
}, 20_000);

test("what was fetched in part is gone on with, not begun anew", async () => {
  const cluster = open();
  const a = await cluster.start("a");
  const blob = await cluster.push(randomBytes(4_000_000), [a]);
  const slow = await cluster.start("b", { bytesPerSecond: 1_500_000 });
  await until(() => (slow.healer.numbers().repairs[0]?.doneBytes ?? 0) > 1_000_000);
  await slow.kill();
  const b = await cluster.start("b", { bytesPerSecond: 1_500_000 });
  const first = await until(() => b.healer.numbers().repairs[0]?.doneBytes);
  expect(first).toBeGreaterThan(1_000_000);
  await until(() => holdsAll(b, [blob]));
  const own = await bodyOf(b.store, blob);
  expect(Buffer.compare(own, await bodyOf(a.store, blob))).toBe(0);
}, 20_000);

test("surplus copies go when all that should hold them do, and the nodes have been at rest", async () => {
  const cluster = open();
  const clock = { now: () => Date.now() + 10_000 };
  const start = (name: string, surplus: number) =>
    cluster.start(name, { copies: 1, clock, times: { surplus, round: 300 } });
  const [a, b] = [await start("a", 2500), await start("b", 1_000_000)];
  const blobs = await pushMany(cluster, [a, b], 20);
  await until(() => isWhole(cluster, a, 1));
  for (const blob of blobs) expect(await countCopies([a, b], blob)).toBe(2);
  const heldBy = async (node: TestNode) => {
    const sizes = await Promise.all(blobs.map(({ locator }) => node.store.stat(locator)));
    return sizes.filter((size) => size !== undefined).length;
  };
  const left = blobs.filter(
    ({ locator }) => placement(locator, a.nodes.all(), 1).holders[0]?.name === "a",
  ).length;
  await until(async () => (await heldBy(a)) === left);
  await Bun.sleep(700);
  expect(await heldBy(a)).toBe(left);
  expect(left).toBeGreaterThan(0);
  expect(await heldBy(b)).toBe(20);
}, 20_000);

test("what a push waits for is made up for though all others drain", async () => {
  const cluster = open();
  const [a, b, c] = [await cluster.start("a"), await cluster.start("b"), await cluster.start("c")];
  const blobs = await pushMany(cluster, [a, b], 5);
  for (const name of ["b", "c"]) await drainNode(cluster.meta, name);
  await until(() => isWhole(cluster, a));
  await b.kill();
  await until(async () => {
    const { underReplicated } = await cluster.healing(a);
    return underReplicated === undefined || underReplicated > 0;
  });
  // b holds its place for a while.
  await until(() => isWhole(cluster, a));
  expect(await holdsAll(c, blobs)).toBe(true);
}, 30_000);

test("a copy that was fetched stays where nobody can say whether it is still meant", async () => {
  const cluster = open();
  const a = await cluster.start("a");
  const blob = await cluster.push(randomBytes(500_000), [a]);
  const digest = a.store.digestOf(blob.locator);
  if (digest === undefined) throw new Error("no digest");
  let store: TestNode["store"] | undefined;
  let asked = 0;
  const b = await cluster.start("b", {
    wrap: (own) => (store = own),
    wrapMeta: (meta) =>
      new Proxy(meta, {
        get(target, name) {
          const value: unknown = Reflect.get(target, name);
          if (name !== "get") return typeof value === "function" ? value.bind(target) : value;
          return async (keysAsked: readonly string[]) => {
            if (keysAsked.includes(keys.blob(digest)) && (await store?.stat(blob.locator))) {
              asked++;
              throw new StoreUnavailable("away");
            }
            return target.get(keysAsked);
          };
        },
      }),
  });
  await until(() => asked > 0);
  await until(() => b.healer.numbers().missing === 0);
  expect(await b.store.stat(blob.locator)).toBe(blob.size);
}, 20_000);

test("nodes that drain keep their copies while too few others are there for all copies", async () => {
  const cluster = open();
  const clock = { now: () => Date.now() + 10_000 };
  const start = (name: string) =>
    cluster.start(name, { copies: 2, clock, times: { surplus: 300, round: 300 } });
  const nodes = [await start("a"), await start("b")];
  const blobs = await pushMany(cluster, nodes, 5);
  await drainNode(cluster.meta, "a");
  const [a] = nodes;
  if (!a) throw new Error("two nodes");
  await until(() => isWhole(cluster, a, 2));
  await Bun.sleep(2000);
  for (const blob of blobs) expect(await countCopies(nodes, blob)).toBe(2);
}, 20_000);
