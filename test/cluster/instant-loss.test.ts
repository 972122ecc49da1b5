/** Promise 1 of DESIGN §1 to the letter: the node that has just answered 201 is lost with its disk. */
import { expect, test } from "bun:test";
import { startCluster } from "../support/cluster.ts";
import { describeEtcd } from "../support/etcd.ts";
import { bytesOf } from "../support/push.ts";
import { type Image, pull, pullProblem, push } from "./support/images.ts";

/** HOLDFAST_CLUSTER_ROUNDS makes it longer or shorter. */
const ROUNDS = Number(process.env["HOLDFAST_CLUSTER_ROUNDS"] ?? 20);
const SIZES = [3000, 24 * 2 ** 20, 70_000, 3 * 2 ** 20];

describeEtcd("a cluster of three", () => {
  test(`kill -9 and loss of the disk the instant after 201: nothing is lost (${ROUNDS} rounds)`, async () => {
    await using cluster = await startCluster();
    const images: Image[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      const [victim, ...others] = [0, 1, 2].flatMap((turn) => {
        const node = cluster.nodes[(round + turn) % 3];
        return node === undefined ? [] : [node];
      });
      if (victim === undefined) throw new Error("there is no node");
      const size = SIZES[round % SIZES.length] ?? 0;
      images.push(await push(victim.url, `instant${round}`, "latest", bytesOf(round, size)));
      await victim.kill();
      victim.wipe();
      for (const other of others)
        for (const image of images.slice(-1)) await pull(other.url, image);
      victim.start();
      await victim.ready();
      // The next one may be lost only once this one is made good.
      await cluster.healed();
    }
    const problems: string[] = [];
    for (const { url } of cluster.nodes)
      for (const image of images)
        problems.push(...[await pullProblem(url, image)].flatMap((one) => one ?? []));
    expect(problems).toEqual([]);
  }, 3_600_000);
});
