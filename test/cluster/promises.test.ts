/** The promises of DESIGN §1 as they concern a cluster: three nodes with nothing but disks. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { describeEtcd } from "../support/etcd.ts";
import { bytesOf, pushBlob, sha256 } from "../support/push.ts";
import { startCluster, type TestCluster, type TestNode } from "../support/cluster.ts";
import { until } from "../support/processes.ts";
import { type Image, pull, pullProblem, push } from "./support/images.ts";
import { blobFiles } from "./support/disks.ts";

const LARGE = 24 * 2 ** 20;

describeEtcd("a cluster of three", () => {
  let cluster: TestCluster;
  const images: Image[] = [];
  let seed = 1;
  const bytes = (size: number) => bytesOf(seed++, size);

  beforeAll(async () => {
    cluster = await startCluster();
  }, 120_000);
  afterAll(async () => {
    await cluster[Symbol.asyncDispose]();
  }, 60_000);

  const node = (index: number): TestNode => {
    const found = cluster.nodes[index % 3];
    if (found === undefined) throw new Error("there is no such node");
    return found;
  };
  const pushed = async (to: TestNode, name: string, size = 3000): Promise<Image> => {
    const image = await push(to.url, name, "latest", bytes(size));
    images.push(image);
    return image;
  };

  test("what one node acknowledged, the others show at once", async () => {
    for (let round = 0; round < 100; round++) {
      const image = await push(node(round).url, "truth", "moving", bytes(500));
      for (const other of [1, 2]) await pull(node(round + other).url, image);
    }
  }, 60_000);

  test("an acknowledged push is on the disks of all nodes soon, byte for byte", async () => {
    for (const size of [3000, LARGE]) await pushed(node(size), `copied${size}`, size);
    await cluster.healed();
    const [first, ...others] = cluster.nodes.map((one) => blobFiles(one.data));
    expect(first?.size).toBeGreaterThan(4);
    for (const other of others) expect(other).toEqual(first ?? new Map());
  }, 60_000);

  test("an upload session goes on at any node", async () => {
    const layer = bytes(3 * 2 ** 20);
    const image = await push(
      node(0).url,
      "sessions",
      "latest",
      layer,
      (request) =>
        // Each request of the push goes to the next node.
        node(request).url,
    );
    for (const one of cluster.nodes) await pull(one.url, image);
  }, 60_000);

  test("a push of what only one node has left is answered when enough have it again", async () => {
    for (const size of [3000, 3 * 2 ** 20]) {
      const content = bytes(size);
      const digest = await pushBlob(node(0).url, "thin", content);
      const copies = () =>
        cluster.nodes.flatMap(({ data }) =>
          [...blobFiles(data)].flatMap(([name, of]) => (of === digest ? [join(data, name)] : [])),
        );
      await until(() => copies().length === 3, 10_000, "every node to have its copy");
      for (const copy of copies().slice(1)) rmSync(copy);
      expect(await pushBlob(node(0).url, "thin", content)).toBe(digest);
      expect(
        new Set(copies().map((path) => path.slice(0, path.indexOf("/blobs/")))).size,
      ).toBeGreaterThanOrEqual(2);
    }
    await cluster.healed();
  }, 60_000);

  test("two of three killed: pulls go on, pushes are refused at once; with a second back they go on", async () => {
    const left = node(0);
    await Promise.all([node(1).kill(), node(2).kill()]);
    const failures: string[] = [];
    for (const image of images) {
      const problem = await pullProblem(left.url, image);
      if (problem !== undefined) failures.push(problem);
    }
    expect(failures).toEqual([]);
    for (let turn = 0; turn < 3; turn++) {
      const started = performance.now();
      const body = bytes(1000);
      const answer = await fetch(`${left.url}/v2/refused/blobs/uploads/?digest=${sha256(body)}`, {
        method: "POST",
        body,
      });
      expect(answer.status).toBe(503);
      expect(answer.headers.get("retry-after")).not.toBeNull();
      expect(performance.now() - started).toBeLessThan(6000);
    }
    node(1).start();
    await node(1).ready();
    await push(left.url, "back", "latest", bytes(100));
    node(2).start();
    await node(2).ready();
    await cluster.healed();
  }, 180_000);
});
