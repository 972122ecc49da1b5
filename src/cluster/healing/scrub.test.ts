import { expect, test } from "bun:test";
import fs from "node:fs";
import { basename, join } from "node:path";
import { bodyOf, randomBytes } from "../../blobs/conformance-tools.ts";
import type { Locator } from "../../blobs/port.ts";
import { ClusterCertificates, connectPeers } from "../peer/index.ts";
import { SECRET, TestCluster, until, type TestNode } from "./healing-fixture.ts";
import { startScrub } from "./scrub.ts";

/** Changes one byte, as a disk may. */
function spoil(node: TestNode, locator: Locator): void {
  const fd = fs.openSync(join(node.directory, locator), "r+");
  const byte = Buffer.alloc(1);
  fs.readSync(fd, byte, 0, 1, 1000);
  byte[0] = (byte[0] ?? 0) ^ 1;
  fs.writeSync(fd, byte, 0, 1, 1000);
  fs.closeSync(fd);
}

test("a rotten copy is set aside and fetched anew, where another node has one", async () => {
  await using cluster = new TestCluster();
  const [a, b] = [await cluster.start("a"), await cluster.start("b")];
  const blobs = await Promise.all(
    [500_000, 2000, 70_000].map((size) => cluster.push(randomBytes(size), [a, b])),
  );
  const [large, small] = blobs;
  if (!large || !small) throw new Error("three blobs");
  await until(async () => (await cluster.healing(a)).underReplicated === 0);
  const alone = await cluster.push(randomBytes(5000), [b]);
  const digest = b.store.digestOf(alone.locator);
  if (digest === undefined) throw new Error("no digest");
  await until(async () => (await a.store.stat(alone.locator)) !== undefined);
  await a.kill();
  for (const { locator } of [large, alone]) spoil(b, locator);

  const rotten = join(b.directory, "rotten");
  fs.mkdirSync(rotten);
  const positionFile = join(b.directory, "scrub.json");
  const begin = () => {
    const certificates = new ClusterCertificates({ keys: SECRET, node: "b", hosts: [] });
    return startScrub({
      meta: cluster.meta,
      blobs: b.store,
      nodes: b.nodes,
      peers: connectPeers({ certificates, keys: SECRET, self: "b" }),
      setAside: async (locator) =>
        fs.renameSync(join(b.directory, locator), join(rotten, basename(locator))),
      want: (locator, size) => b.healer.want(locator, size),
      positionFile,
      bytesPerSecond: 0,
      everyMs: 500,
      log: {
        debug() {},
        info() {},
        request() {},
        warn() {},
        error: (message, fields) => b.lines.push(`${message} ${Bun.inspect(fields)}`),
      },
    });
  };
  {
    await using _ = begin();
    await until(() => b.lines.filter((line) => line.includes("no other node")).length >= 2);
    expect(fs.readdirSync(rotten)).toEqual([]);
  }
  const again = await cluster.start("a");
  await until(() => b.nodes.all().every(({ isLive }) => isLive));
  await using _ = begin();
  await until(() => fs.readdirSync(rotten).length === 2);
  for (const { locator } of [large, alone])
    await until(async () => (await b.store.stat(locator)) !== undefined);
  for (const blob of [large, small, alone]) {
    const own = await bodyOf(b.store, blob);
    expect(Buffer.compare(own, await bodyOf(again.store, blob))).toBe(0);
  }
}, 30_000);
