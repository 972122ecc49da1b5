/** Tags are linearizable: what many clients saw at many nodes has an order that explains it. */
import { test } from "bun:test";
import { describeWith } from "../clients/support/tools.ts";
import { describeEtcd, startEtcd } from "../support/etcd.ts";
import { startNodes, type Nodes } from "../support/nodes.ts";
import { describePostgres, startPostgres } from "../support/postgres.ts";
import { randomOf, seedOf, type Random } from "../support/random.ts";
import { etcdEnv, newBucketPlace, newPlace, type DatabaseKind } from "../support/shared-place.ts";
import { expectLinearizable } from "./support/histories.ts";
import { startTagClients, type TagClients } from "./support/tag-clients.ts";

const CALM_MS = 6000;

async function check(
  nodes: Nodes,
  random: Random,
  meanwhile: (clients: TagClients) => Promise<void>,
): Promise<void> {
  const clients = await startTagClients({
    nodes: () => nodes.live.map(({ url }) => url),
    random,
    clients: 12,
    tags: 4,
  });
  await meanwhile(clients);
  expectLinearizable(await clients.stop());
}

/** Waits until so many more answers have come: whatever was broken, the registry works again. */
async function answers(clients: TagClients, more: number): Promise<void> {
  const before = clients.answered;
  const deadline = Date.now() + 60_000;
  while (clients.answered < before + more) {
    if (Date.now() > deadline) throw new Error("no answers any more");
    await Bun.sleep(50);
  }
}

async function killOne(nodes: Nodes, random: Random): Promise<void> {
  await nodes.kill(random.pick(nodes.live));
  await nodes.add();
}

function calm(kind: DatabaseKind): void {
  test("with all of them up, and one node killed and replaced", async () => {
    const random = randomOf(seedOf("history"));
    await using place = await newPlace(kind);
    await using nodes = await startNodes({ env: place.env, count: 3 });
    await check(nodes, random, async (clients) => {
      await Bun.sleep(CALM_MS / 2);
      await killOne(nodes, random);
      await Bun.sleep(CALM_MS / 2);
      await answers(clients, 50);
    });
  });
}

describeWith(["versitygw"], "tags at random nodes", () => {
  describePostgres("over PostgreSQL", () => {
    calm("postgres");

    test("while the server is killed and started again, and restarted", async () => {
      const random = randomOf(seedOf("history"));
      await using server = await startPostgres();
      const { env } = await newBucketPlace();
      const url = { HOLDFAST_METADATA_POSTGRES_URL: server.url };
      await using nodes = await startNodes({ env: { ...env, ...url }, count: 3 });
      await check(nodes, random, async (clients) => {
        await answers(clients, 100);
        await server.kill();
        await Bun.sleep(500);
        await server.start();
        await answers(clients, 100);
        await Promise.all([killOne(nodes, random), server.stop().then(() => server.start())]);
        await answers(clients, 100);
      });
    });
  });

  describeEtcd("over etcd", () => {
    calm("etcd");

    test("while the leader is killed, and then a node with it", async () => {
      const random = randomOf(seedOf("history"));
      await using etcd = await startEtcd({ members: 3 });
      const { env } = await newBucketPlace();
      await using nodes = await startNodes({
        env: { ...env, ...etcdEnv(etcd.endpoints) },
        count: 3,
      });
      await check(nodes, random, async (clients) => {
        await answers(clients, 100);
        const first = await etcd.leader();
        await first.stop("SIGKILL");
        await answers(clients, 100);
        await first.restart();
        const second = await etcd.leader();
        await Promise.all([killOne(nodes, random), second.stop("SIGKILL")]);
        await answers(clients, 100);
        await second.restart();
      });
    });
  });
});
