/**
 * Everything that can befall a minority befalls it, while clients push, pull, move and delete; what they saw is compared
 * with a model. HOLDFAST_TEST_SEED replays a run, HOLDFAST_CHAOS_SECONDS makes it longer, HOLDFAST_CHAOS_FAULTS names the
 * faults to draw from, HOLDFAST_CHAOS_LOGS a directory for the nodes' logs.
 */
import { describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isLinearizable } from "../shared/support/linearizable.ts";
import { startCluster } from "../support/cluster.ts";
import { etcdObstacle } from "../support/etcd.ts";
import { randomOf, seedOf } from "../support/random.ts";
import { Clients } from "./support/chaos-clients.ts";
import { expectAll } from "./support/chaos-end.ts";
import { type Puller, Record } from "./support/chaos-http.ts";
import { historyOf } from "./support/chaos-push.ts";
import { TagClients } from "./support/chaos-tags.ts";
import { Nemesis, writeClock } from "./support/nemesis.ts";
import { networkObstacle, newNetwork } from "./support/network.ts";

const SECONDS = Number(process.env["HOLDFAST_CHAOS_SECONDS"] ?? 90);
const DISK = 1536 * 2 ** 20;
/** A pull may be answered 5xx so long after something began or ended. */
const UNREST_MS = 10_000;
/** How often a client turns to a node that is in trouble: a balancer would not, for long. */
const LOST_CHANCE = 0.15;
const obstacle = etcdObstacle ?? networkObstacle;

const run = async (): Promise<void> => {
  const seed = seedOf("chaos");
  using stack = new DisposableStack();
  const home = mkdtempSync(join(tmpdir(), "holdfast-chaos-"));
  stack.defer(() => rmSync(home, { recursive: true, force: true }));
  using network = newNetwork(3);
  const clocks = new Map(["n1", "n2", "n3"].map((name) => [name, writeClock(home, name)]));
  await using cluster = await startCluster({
    hosts: network.hosts,
    disk: DISK,
    env: (name) => ({
      BUN_OPTIONS: `--preload ${clocks.get(name)?.program}`,
      // Bytes that are given up are removed while it lasts.
      HOLDFAST_COLLECTION_GRACE: "60s",
      HOLDFAST_UPLOADS_PURGE_INTERVAL: "5s",
    }),
  });
  const record = new Record();
  const timeline: string[] = [];
  using nemesis = new Nemesis(
    {
      cluster,
      network,
      random: randomOf(seed),
      setClock: (node, seconds) => clocks.get(node.name)?.set(seconds),
      say: (what) => timeline.push(`${record.at()} ${what}`),
    },
    process.env["HOLDFAST_CHAOS_FAULTS"],
  );
  const puller = (random: ReturnType<typeof randomOf>): Puller => ({
    record,
    random,
    nodes: () => {
      const running = cluster.nodes.filter(({ isRunning }) => isRunning);
      const well = running.filter((node) => !nemesis.isLost(node));
      return well.length === 0 || random.chance(LOST_CHANCE) ? running : well;
    },
  });
  const clients = new Clients(puller, (at) => randomOf(seed + 1000 + at));
  const tags = new TagClients(puller, (at) => randomOf(seed + 2000 + at));
  const judge = puller(randomOf(seed + 1));

  try {
    await nemesis.run(SECONDS * 1000);
    await clients.stop();
    await tags.stop(judge);
    for (const node of cluster.nodes) await node.ready();
    await cluster.healed(120_000);
    for (const item of clients.items)
      if (!isLinearizable(item.history))
        record.fail(`${item.path} is not linearizable: ${historyOf(judge, item)}`);
    await expectAll(clients.items, cluster.nodes, record);
  } catch (error) {
    record.fail(String(error));
  }
  // Which of them came when nothing had happened for long, at a node that nothing befell.
  const unexplained = record.incidents.filter(({ node, start, end, isThere }) => {
    if (!isThere) return false;
    const at = cluster.nodes.find(({ name }) => name === node);
    if (at !== undefined && (nemesis.isLost(at, start) || nemesis.isLost(at, end))) return false;
    return !nemesis.faults.some(({ began, undone, over }) =>
      [began, undone, over].some((moment) => moment <= end && start <= moment + UNREST_MS),
    );
  });
  for (const { node, start, end, status, text } of unexplained)
    record.fail(`unexplained: ${node} ${record.at(start)}–${record.at(end)}: ${status} ${text}`);

  const by = (list: readonly string[]): string =>
    [...Map.groupBy(list, (one) => one)]
      .map(([one, all]) => `${one} ${all.length}`)
      .sort()
      .join(", ");
  const counted = [...record.counts].map(([kind, count]) => `${kind} ${count}`).sort();
  const refused = record.incidents.filter(({ status }) => status >= 500);
  console.log(
    `operations: ${counted.join(", ")}\nfaults: ${by(nemesis.faults.map(({ kind }) => kind))}\n` +
      `pulls repeated: ${record.incidents.length} (${by(record.incidents.map(({ status }) => String(status)))}), ` +
      `of the 5xx ${refused.filter(({ node, start }) => !cluster.nodes.some((one) => one.name === node && nemesis.isLost(one, start))).length} at nodes that were well; ` +
      `longest pull ${Math.round(record.longest.pull)} ms, longest push ${Math.round(record.longest.push)} ms`,
  );
  if (record.failures.length > 0) console.log(timeline.join("\n"));
  const logs = process.env["HOLDFAST_CHAOS_LOGS"];
  if (logs !== undefined) {
    mkdirSync(logs, { recursive: true });
    for (const node of cluster.nodes) writeFileSync(join(logs, `${node.name}.log`), node.logs());
    const incidents = record.incidents.map(
      ({ node, start, end, status, text, isThere }) =>
        `${node} ${record.at(start)}–${record.at(end)}: ${status} ${isThere ? "" : "(unsure) "}${text}`,
    );
    for (const [name, list] of Object.entries({
      timeline,
      incidents,
      failures: record.failures,
      pushes: record.pushes,
    }))
      writeFileSync(join(logs, `${name}.txt`), list.join("\n"));
  }
  expect(record.failures).toEqual([]);
};

if (obstacle === undefined)
  describe("a cluster to which everything happens", () => {
    test(`is right all the time (${SECONDS} s)`, run, (SECONDS + 600) * 1000);
  });
else test.skip(`a cluster to which everything happens (${obstacle})`, () => {});
