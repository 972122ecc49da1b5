/** Every node is replaced again and again under load, and nobody who uses the registry notices. */
import { expect, test } from "bun:test";
import { describeWith } from "../clients/support/tools.ts";
import { describeEtcd } from "../support/etcd.ts";
import { startBalancedNodes } from "../support/nodes.ts";
import { describePostgres } from "../support/postgres.ts";
import { randomOf, seedOf } from "../support/random.ts";
import type { DatabaseKind } from "../support/shared-place.ts";
import { digestAt } from "./support/api.ts";
import { startLoad } from "./support/load.ts";

/** HOLDFAST_TEST_ROUNDS makes it longer or shorter. */
const ROUNDS = Number(process.env["HOLDFAST_TEST_ROUNDS"] ?? "20");

async function roll(kind: DatabaseKind, rounds: number): Promise<void> {
  const random = randomOf(seedOf(`rolling over ${kind}`));
  await using shared = await startBalancedNodes(kind, { count: 3 });
  const { nodes, balancer } = shared;
  let killed = -Infinity;
  const load = startLoad({
    url: balancer.url,
    random,
    pushers: 3,
    pullers: 5,
    wasKilledSince: (moment) => killed >= moment,
  });
  let kills = 0;
  const events: string[] = [];
  const note = (event: string): void => {
    events.push(`${Math.round(performance.now())} ms: ${event}`);
  };
  for (let round = 1; round <= rounds; round++) {
    await Bun.sleep(300);
    const [oldest] = nodes.live;
    if (oldest === undefined) throw new Error("there is no node");
    if (random.chance(0.4)) {
      kills++;
      // From before the signal to after the end of its processes.
      killed = Infinity;
      note(`kill ${oldest.port}`);
      await nodes.kill(oldest);
      killed = performance.now();
    } else {
      note(`drain ${oldest.port}`);
      await nodes.drain(oldest);
    }
    note("ended");
    note(`${(await nodes.add()).port} is ready`);
    if (load.failures.length > 0) console.log(events.join("\n"));
    expect(load.failures).toEqual([]);
  }
  await load.stop();
  console.log(
    `${rounds} rounds, ${kills} kills: ${load.images.length} images pushed (${load.putOff} times put off, ` +
      `${load.cut} cut), ${load.pulls} pulls (${load.repeated} repeated)`,
  );
  expect(load.failures).toEqual([]);
  expect(load.images.length).toBeGreaterThan(rounds);
  expect(load.pulls).toBeGreaterThan(10 * rounds);

  for (const node of nodes.live) {
    for (const { repository, digest, layer } of load.images) {
      const base = `/v2/${repository}`;
      expect(await digestAt(node, `${base}/manifests/${digest}`)).toBe(digest);
      expect(await digestAt(node, `${base}/blobs/${layer}`)).toBe(layer);
    }
  }
}

describeWith(["versitygw"], "a rolling update", () => {
  describePostgres("over PostgreSQL", () => {
    test("of all nodes, again and again", () => roll("postgres", ROUNDS), 600_000);
  });
  describeEtcd("over etcd", () => {
    test("of all nodes, again and again", () => roll("etcd", ROUNDS), 600_000);
  });
});
