/** A power cut that one machine of three comes back from before the others. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { startCluster, type TestCluster, type TestNode } from "../support/cluster.ts";
import { describeEtcd } from "../support/etcd.ts";
import { until } from "../support/processes.ts";
import { bytesOf, sha256 } from "../support/push.ts";
import { type Image, pull, pullProblem, push } from "./support/images.ts";

describeEtcd("a node that starts without the others", () => {
  let cluster: TestCluster;
  let nodes: readonly [TestNode, TestNode, TestNode];
  const images: Image[] = [];
  beforeAll(async () => {
    cluster = await startCluster();
    nodes = cluster.nodes as unknown as typeof nodes;
    for (const size of [300, 5 * 2 ** 20])
      images.push(await push(nodes[0].url, `alone${size}`, "latest", bytesOf(size, size)));
    await cluster.healed();
    // Every node has in its journal by then what was committed.
    await Bun.sleep(4000);
    await Promise.all(nodes.map((node) => node.kill()));
  }, 120_000);
  afterAll(async () => {
    await cluster[Symbol.asyncDispose]();
  }, 60_000);

  test("serves pulls from what it knew last, marked stale, and refuses pushes", async () => {
    const [, alone] = nodes;
    alone.start();
    const [image] = images as [Image];
    const isServed = async () => (await pullProblem(alone.url, image)) === undefined;
    await until(isServed, 30_000, "a pull to succeed");
    for (const each of images) await pull(alone.url, each);
    const tag = `${alone.url}/v2/${image.repository}/manifests/latest`;
    expect((await fetch(tag)).headers.get("warning")).toContain("last known state");

    const body = bytesOf(7, 100);
    const refused = await fetch(`${alone.url}/v2/new/blobs/uploads/?digest=${sha256(body)}`, {
      method: "POST",
      body,
    });
    expect(refused.status).toBe(503);
    expect(refused.headers.get("retry-after")).not.toBeNull();
    const ready = await fetch(`${alone.url}/readyz`);
    expect(ready.status).toBe(503);
    expect(await ready.text()).toContain("waits for a majority");
    expect((await fetch(`${alone.url}/healthz`)).status).toBe(200);
  }, 60_000);

  test("is a node like any other once a second is there, and fails no pull on the way", async () => {
    const [, alone, second] = nodes;
    const problems: string[] = [];
    let running = true;
    const pulling = (async () => {
      let pulls = 0;
      for (; running; pulls++)
        for (const image of images) {
          const problem = await pullProblem(alone.url, image);
          if (problem !== undefined) problems.push(problem);
        }
      return pulls;
    })();
    second.start();
    await Promise.all([alone.ready(), second.ready()]);
    await Bun.sleep(3000);
    running = false;
    expect(await pulling).toBeGreaterThan(10);
    expect(problems).toEqual([]);
    for (let turn = 0; turn < 8; turn++) {
      const answer = await fetch(`${alone.url}/readyz`, { headers: { connection: "close" } });
      expect(answer.status).toBe(200);
    }
    await push(alone.url, "again", "latest", bytesOf(9, 100));
  }, 90_000);
});
