/** A machine that neither works nor dies: its connections stay open, and nothing comes. */
import { expect, test } from "bun:test";
import { startLoad } from "../shared/support/load.ts";
import { startBalancer } from "../support/balancer.ts";
import { startCluster, type TestNode } from "../support/cluster.ts";
import { describeEtcd } from "../support/etcd.ts";
import { bytesOf } from "../support/push.ts";
import { randomOf, seedOf } from "../support/random.ts";
import { digestAt } from "../shared/support/api.ts";
import { blobFiles } from "./support/disks.ts";
import { type Image, pullProblem, push } from "./support/images.ts";
import { leaderOf } from "./support/leader.ts";
import { residentOf } from "./support/memory.ts";

const FROZEN_MS = Number(process.env["HOLDFAST_CLUSTER_FROZEN_MS"] ?? 12_000);
/** Until a push is acknowledged, however often it was told to come back. */
const PUSH_MS = 15_000;
const GROWTH_MB = 100;

/** Pushes and pulls at one node without pause, and notes the longest of each in milliseconds. */
function timed(node: TestNode): { readonly worst: Worst; stop(): Promise<void> } {
  const worst: Worst = { push: 0, pull: 0, problems: [] };
  let running = true;
  const work = (async () => {
    for (let n = 0; running; n++) {
      const began = performance.now();
      const image = await pushed(node, `${node.name}-${n}`);
      worst.push = Math.max(worst.push, performance.now() - began);
      const then = performance.now();
      const problem = await pullProblem(node.url, image);
      worst.pull = Math.max(worst.pull, performance.now() - then);
      if (problem !== undefined) worst.problems.push(problem);
    }
  })();
  return {
    worst,
    stop() {
      running = false;
      return work;
    },
  };
}

interface Worst {
  push: number;
  pull: number;
  readonly problems: string[];
}

async function pushed(node: TestNode, tag: string): Promise<Image> {
  for (;;) {
    try {
      return await push(node.url, "timed", tag, bytesOf(Bun.hash.crc32(tag), 20_000));
    } catch (error) {
      if (!String(error).includes("got 503")) throw error;
      await Bun.sleep(100);
    }
  }
}

describeEtcd("a cluster of which one node is frozen", () => {
  test("serves every pull, takes pushes, and does not grow", async () => {
    await using cluster = await startCluster();
    const frozen = await leaderOf(cluster);
    const living = cluster.nodes.filter((node) => node !== frozen);
    await using balancer = await startBalancer(() => living);
    const load = startLoad({
      url: balancer.url,
      random: randomOf(seedOf("frozen")),
      pushers: 2,
      pullers: 3,
      wasKilledSince: () => false,
    });
    const clients = living.map(timed);
    // What a process takes to run at all is not growth.
    await Bun.sleep(5000);

    const before = living.map(residentOf);
    const pulls = load.pulls;
    frozen.signal("SIGSTOP");
    await Bun.sleep(FROZEN_MS);
    const after = living.map(residentOf);
    const during = load.pulls - pulls;
    frozen.signal("SIGCONT");
    await Promise.all(clients.map((client) => client.stop()));
    await load.stop();

    const worst = clients.map((client) => client.worst);
    for (const { push, pull } of worst)
      console.log(`longest push ${Math.round(push)} ms, longest pull ${Math.round(pull)} ms`);
    console.log(`${during} pulls meanwhile; ${load.images.length} pushes, ${load.putOff} put off`);
    console.log("resident MB before and after", before, after);
    expect(load.failures).toEqual([]);
    expect(worst.flatMap(({ problems }) => problems)).toEqual([]);
    expect(during).toBeGreaterThan(50);
    for (const { push } of worst) expect(push).toBeLessThan(PUSH_MS);
    for (const [index, processes] of after.entries()) {
      expect([...processes.keys()]).toEqual([...(before[index]?.keys() ?? [])]);
      for (const [pid, megabytes] of processes)
        expect(megabytes - (before[index]?.get(pid) ?? 0)).toBeLessThan(GROWTH_MB);
    }

    await frozen.ready();
    await cluster.healed();
    for (const { repository, digest, layer } of load.images) {
      expect(await digestAt(frozen, `/v2/${repository}/manifests/${digest}`)).toBe(digest);
      expect(await digestAt(frozen, `/v2/${repository}/blobs/${layer}`)).toBe(layer);
    }
    const [first, ...others] = cluster.nodes.map(({ data }) => [...blobFiles(data).keys()]);
    for (const other of others) expect(other).toEqual(first ?? []);
  }, 240_000);
});
