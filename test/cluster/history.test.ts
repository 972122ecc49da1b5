/** Tags of a cluster are linearizable, whatever happens to a minority of its nodes. */
import { expect, test } from "bun:test";
import { startCluster } from "../support/cluster.ts";
import { describeEtcd } from "../support/etcd.ts";
import { randomOf, seedOf } from "../support/random.ts";
import { expectLinearizable } from "../shared/support/histories.ts";
import { startTagClients } from "../shared/support/tag-clients.ts";
import { leaderOf } from "./support/leader.ts";

const PATIENCE_MS = 60_000;

describeEtcd("tags at random nodes of a cluster", () => {
  test("while the leading node is killed, one is frozen, and one loses its disk", async () => {
    const random = randomOf(seedOf("history"));
    await using cluster = await startCluster();
    const clients = await startTagClients({
      nodes: () => cluster.nodes.filter(({ isRunning }) => isRunning).map(({ url }) => url),
      random,
      // Each that gets no answer while a node is away may have happened or not: with more of them no order is found.
      clients: 6,
      tags: 4,
    });
    const answers = async (more: number): Promise<void> => {
      const before = clients.answered;
      const deadline = Date.now() + PATIENCE_MS;
      while (clients.answered < before + more) {
        if (Date.now() > deadline) throw new Error(`no answers any more\n${cluster.logs()}`);
        await Bun.sleep(50);
      }
    };
    await answers(100);

    const leader = await leaderOf(cluster);
    await leader.kill();
    await answers(100);
    leader.start();
    await leader.ready();

    const frozen = await leaderOf(cluster);
    frozen.signal("SIGSTOP");
    await Bun.sleep(5000);
    frozen.signal("SIGCONT");
    await answers(200);

    const emptied = random.pick(cluster.nodes);
    await emptied.kill();
    emptied.wipe();
    await answers(50);
    emptied.start();
    await emptied.ready();
    await answers(100);

    expectLinearizable(await clients.stop());
    await cluster.healed();
    expect(clients.answered).toBeGreaterThan(300);
  }, 240_000);
});
