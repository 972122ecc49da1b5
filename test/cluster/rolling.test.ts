/** Nodes of a cluster are restarted, killed and lose their disks one after another, and nobody who uses it notices. */
import { expect, test } from "bun:test";
import { startBalancer } from "../support/balancer.ts";
import { startCluster, type TestNode } from "../support/cluster.ts";
import { describeEtcd } from "../support/etcd.ts";
import { randomOf, seedOf } from "../support/random.ts";
import { digestAt } from "../shared/support/api.ts";
import { startLoad } from "../shared/support/load.ts";

/** HOLDFAST_CLUSTER_ROUNDS makes it longer or shorter. */
const ROUNDS = Number(process.env["HOLDFAST_CLUSTER_ROUNDS"] ?? 2);

const HOWS = ["stop", "kill", "wipe"] as const;

describeEtcd("a cluster whose nodes are replaced one after another", () => {
  test(`loses nothing and fails no pull (${ROUNDS} rounds)`, async () => {
    const random = randomOf(seedOf("rolling cluster"));
    await using cluster = await startCluster();
    const { nodes } = cluster;
    await using balancer = await startBalancer(() => nodes.filter(({ isRunning }) => isRunning));
    let killed = -Infinity;
    const load = startLoad({
      url: balancer.url,
      random,
      pushers: 2,
      pullers: 3,
      wasKilledSince: (moment) => killed >= moment,
    });
    const events: string[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      await Bun.sleep(500);
      const node = nodes[round % nodes.length] as TestNode;
      // Each node in turn, and each in all ways.
      const how = HOWS[(round + Math.floor(round / nodes.length)) % HOWS.length] ?? "stop";
      events.push(`${Math.round(performance.now())} ms: ${how} ${node.name}`);
      if (how === "stop") await node.stop();
      else {
        killed = Infinity;
        await node.kill();
        killed = performance.now();
      }
      if (how === "wipe") node.wipe();
      await Bun.sleep(1000);
      node.start();
      await node.ready();
      await cluster.healed(120_000);
      if (load.failures.length > 0) console.log(events.join("\n"), cluster.logs());
      expect(load.failures).toEqual([]);
    }
    await load.stop();
    console.log(
      `${load.images.length} images pushed (${load.putOff} times put off, ${load.cut} cut), ` +
        `${load.pulls} pulls (${load.repeated} repeated)`,
    );
    expect(load.failures).toEqual([]);
    expect(load.images.length).toBeGreaterThan(ROUNDS);
    for (const node of nodes) {
      for (const { repository, digest, layer } of load.images) {
        const base = `/v2/${repository}`;
        expect(await digestAt(node, `${base}/manifests/${digest}`)).toBe(digest);
        expect(await digestAt(node, `${base}/blobs/${layer}`)).toBe(layer);
      }
    }
  }, 600_000);
});
