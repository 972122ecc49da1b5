import { expect, test } from "bun:test";
import { randomBytes } from "../../blobs/conformance-tools.ts";
import type { StoredBlob } from "../../blobs/port.ts";
import { noteSpace } from "../nodes/membership.ts";
import { holdsAll, TestCluster, until, type TestNode } from "./healing-fixture.ts";

test("a store that is nearly full keeps what it has, and nobody makes up for it", async () => {
  await using cluster = new TestCluster();
  const clock = { now: () => Date.now() + 10_000 };
  const start = (name: string) =>
    cluster.start(name, { copies: 2, clock, times: { surplus: 500, round: 300 } });
  const nodes = [await start("a"), await start("b"), await start("c")];
  const [a, b, c] = nodes;
  if (!a || !b || !c) throw new Error("three nodes");
  await until(() => nodes.every((node) => node.nodes.all().length === 3));
  const blobs = await Promise.all(
    Array.from({ length: 30 }, () => cluster.pushPlaced(randomBytes(2000), nodes, 2)),
  );
  const isWhole = async () => (await cluster.healing(a, 2)).underReplicated === 0;
  const held = () => Promise.all(nodes.map((node) => countHeld(node, blobs)));
  await until(() => isWhole());
  const before = await held();

  await noteSpace(cluster.meta, "c", { free: 1, total: 2 ** 40 });
  await until(() => a.nodes.all().some(({ space }) => space?.free === 1));
  await until(() => isWhole());
  await Bun.sleep(2000);
  expect(await held()).toEqual(before);

  // What is short of a copy goes to those that have room.
  for (const { locator } of blobs) await a.store.delete(locator);
  await until(async () => (await countHeld(a, blobs)) === before[0]);
  const pushed = await cluster.push(randomBytes(2000), [a]);
  await until(() => holdsAll(b, [pushed]), 5000);
  expect(await c.store.stat(pushed.locator)).toBeUndefined();
}, 30_000);

async function countHeld({ store }: TestNode, blobs: readonly StoredBlob[]): Promise<number> {
  const sizes = await Promise.all(blobs.map(({ locator }) => store.stat(locator)));
  return sizes.filter((size) => size !== undefined).length;
}
