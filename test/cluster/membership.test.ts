/** Nodes that form a cluster, come back to it and join it, with real etcd and real peer ports. */
import { expect, test } from "bun:test";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { addLearner, etcdUrl, removeMember } from "../../src/cluster/etcd/index.ts";
import type { EtcdClient } from "../../src/meta/etcd/client.ts";
import { describeEtcd } from "../support/etcd.ts";
import { freePort, until } from "../support/processes.ts";
import {
  freeAddresses,
  Playground,
  type NodeOptions,
  type TestNode,
} from "./support/membership-nodes.ts";

/** Options of nodes that list each other. */
function plan(...names: readonly string[]): NodeOptions[] {
  const nodes = names.map((name) => ({ name, at: freeAddresses() }));
  const members = Object.fromEntries(nodes.map(({ name, at }) => [name, at.address]));
  return nodes.map((node) => ({ ...node, members }));
}

function startAll(ground: Playground, options: readonly NodeOptions[]): Promise<TestNode[]> {
  return Promise.all(options.map((each) => ground.start(each)));
}

const entered = (nodes: readonly TestNode[]) => Promise.all(nodes.map((node) => node.entered));

async function formed(ground: Playground, options: readonly NodeOptions[]): Promise<TestNode[]> {
  const nodes = await startAll(ground, options);
  await entered(nodes);
  return nodes;
}

const KEYS = 50;
const encode = (text: string): string => Buffer.from(text).toString("base64");
const put = (node: TestNode, key: string) =>
  node.api.call("/v3/kv/put", { key: encode(key), value: encode("here") }, 5000);
/** What a read of all members, or of this one's own state, shows. */
const has = async (api: EtcdClient, key: string): Promise<boolean> => {
  const body = { key: encode(key), count_only: true };
  const { count } = await api.call<{ count?: string }>("/v3/kv/range", body, 5000);
  return count === "1";
};
/** How many keys with this beginning a member has in its own state. */
const held = async ({ ownApi }: TestNode, prefix: string): Promise<number> => {
  const [key, range_end] = [encode(prefix), encode(`${prefix}~`)];
  const body = { key, range_end, count_only: true, serializable: true };
  const { count } = await ownApi.call<{ count?: string }>("/v3/kv/range", body, 5000);
  return Number(count ?? 0);
};

describeEtcd("membership", () => {
  test("three nodes form one cluster, whenever each is started, and come back to it", async () => {
    await using ground = new Playground();
    const options = plan("n1", "n2", "n3");
    const [first, second, third] = options as [NodeOptions, NodeOptions, NodeOptions];
    const n3 = await ground.start(third);
    await n3.waits(
      /forming the cluster needs every one of its members: n1: nothing listens .*; n2: nothing /,
    );
    const n1 = await ground.start(first);
    await Bun.sleep(300);
    expect(n1.membership.nodes).toEqual([]);
    const n2 = await ground.start(second);
    const places = await entered([n1, n2, n3]);
    expect(new Set(places.map(({ cluster }) => cluster)).size).toBe(1);
    expect(await n1.voters()).toEqual(["n1", "n2", "n3"]);
    await put(n1, "before");

    await Promise.all([n1, n2, n3].map((node) => node.stop()));
    const again = await formed(ground, options);
    for (const node of again) expect(await has(node.api, "before")).toBe(true);
    const back = await entered(again);
    expect(back.map(({ cluster }) => cluster)).toEqual(places.map(({ cluster }) => cluster));
  }, 60_000);

  test("a node that lost its disk is a voter again by itself; a fourth stands by", async () => {
    await using ground = new Playground();
    const options = plan("n1", "n2", "n3");
    const [n1, n2] = (await formed(ground, options)) as [TestNode, TestNode];
    const { store } = n2.membership;
    await put(n1, "kept");
    await n2.wipe();
    const [, second] = options as [NodeOptions, NodeOptions];
    // Somebody let it in already, and the answer was lost.
    const lost = (await n1.members()).find(({ name }) => name === "n2")?.id ?? "";
    await removeMember(n1.ownApi, lost);
    const added = () => addLearner(n1.ownApi, etcdUrl(second.at.etcdPeer)).catch(() => undefined);
    await until(async () => (await added()) !== undefined, 20_000, "n2 to be let in");
    const anew = await ground.start(second);
    const place = await anew.entered;
    expect(anew.membership.store).not.toBe(store);
    expect(place.etcd?.state).toBe("existing");
    await until(async () => (await n1.voters()).includes("n2"), 20_000, "n2 to vote");
    expect(await n1.voters()).toEqual(["n1", "n2", "n3"]);
    expect(await has(anew.api, "kept")).toBe(true);

    const fourth = { name: "n4", at: freeAddresses(), join: [second.at.address] };
    const n4 = await ground.start(fourth);
    expect((await n4.entered).cluster).toBe(place.cluster);
    // Whoever did not let it in learns of it from the cluster's records.
    const all = [...options, fourth].map(({ name, at }) => ({ name, address: at.address }));
    await n1.membership.remember(all);
    expect(n1.membership.nodes).toContainEqual({
      name: "n4",
      store: n4.membership.store,
      ...fourth.at,
    });
    const learners = (await n1.members()).filter(({ isLearner }) => isLearner);
    expect(learners.map(({ peerUrls }) => peerUrls)).toEqual([[`https://${fourth.at.etcdPeer}`]]);
    expect(n4.membership.nodes.map(({ name }) => name).sort()).toEqual(["n1", "n2", "n3", "n4"]);
  }, 90_000);

  test("two of three with emptied disks wait for the third, and form nothing without it", async () => {
    await using ground = new Playground();
    const options = plan("n1", "n2", "n3");
    const [n1, n2, n3] = (await formed(ground, options)) as [TestNode, TestNode, TestNode];
    const { cluster } = await n3.entered;
    const [first, second, third] = options as [NodeOptions, NodeOptions, NodeOptions];
    await Promise.all([n1.wipe(), n2.wipe(), n3.stop()]);

    const anew = await startAll(ground, [first, second]);
    for (const node of anew) await node.waits(/forming the cluster needs every .*: n3: nothing/);
    const survivor = await ground.start(third);
    for (const node of anew)
      await node.waits(new RegExp(`to join cluster ${cluster}: n3: n3 .*no member with a running`));
    await Bun.sleep(1000);
    for (const node of anew) expect(node.membership.nodes).toEqual([]);
    expect(await Promise.race([survivor.entered, Bun.sleep(0)])).toBeUndefined();
  }, 60_000);

  test("a process that ends in the midst of forming goes on when it is back", async () => {
    await using ground = new Playground();
    const options = plan("n1", "n2", "n3");
    const rounds = 3;
    let nodes = await startAll(ground, options);
    for (let round = 0; round < rounds; round++) {
      await Bun.sleep(20 + 60 * round);
      const victim = round % nodes.length;
      await nodes[victim]?.stop();
      nodes = nodes.with(victim, await ground.start(options[victim] as NodeOptions));
    }
    const places = await entered(nodes);
    expect(new Set(places.map(({ cluster }) => cluster)).size).toBe(1);
    expect(new Set(places.map(({ etcd }) => etcd?.clusterId)).size).toBe(1);
  }, 60_000);

  test("who is not one of us is told apart, by the reason", async () => {
    await using ground = new Playground();
    const [first, second] = plan("n1", "n2") as [NodeOptions, NodeOptions];
    const n1 = await ground.start(first);
    const stranger = await ground.start({
      ...second,
      secret: "another secret than all the others have",
    });
    await n1.waits(/n2: .*secret/);
    await stranger.waits(/n1: .*secret/);
    await stranger.wipe();

    const twin = await ground.start({
      ...second,
      name: "n3",
      members: { n3: second.at.address, n1: first.at.address },
    });
    await n1.waits(/is listed as n2 but calls itself n3/, 8000);
    await twin.wipe();
    const n2 = await ground.start(second);
    const { cluster } = await n1.entered;
    expect((await n2.entered).cluster).toBe(cluster);

    // A cluster of its own, which is then listed beside this one.
    const [alone] = plan("n9") as [NodeOptions];
    const n9 = await ground.start(alone);
    expect((await n9.entered).cluster).not.toBe(cluster);
    const seeds = [first, alone].map(({ at }) => at.address);
    const between = await ground.start({ name: "n4", at: freeAddresses(), join: seeds });
    await between.waits(/the seeds are members of different clusters: n1 of .*, n9 of /);
  }, 60_000);

  test("a second node of a name that is taken is refused, and the first stays", async () => {
    await using ground = new Playground();
    const [first] = plan("n1") as [NodeOptions];
    const n1 = await ground.start(first);
    await n1.entered;
    const second = { name: "n2", at: freeAddresses(), join: [first.at.address] };
    const n2 = await ground.start(second);
    await n2.entered;
    const ids = async () => (await n1.members()).map(({ id }) => id).sort();
    const before = await ids();

    const thief = await ground.start({ ...second, at: freeAddresses(), directory: "thief" });
    expect(await thief.entered.then(String, String)).toMatch(
      /MembershipError: n1: there is a node n2 already, at https:.*: choose another cluster.node/,
    );
    const mask = { ...second, listen: freePort(), directory: "mask" };
    const masked = await ground.start(mask);
    expect(await masked.entered.then(String, String)).toMatch(
      /MembershipError: n1: at .*, which n2 gives as its address, another node answers, called n2/,
    );
    expect(await ids()).toEqual(before);
  }, 60_000);

  test("recovered from one node alone, it goes on with what that has, and the others join anew", async () => {
    await using ground = new Playground();
    const options = plan("n1", "n2", "n3");
    const nodes = await formed(ground, options);
    const [n1, n2, n3] = nodes as [TestNode, TestNode, TestNode];
    const [first, second, third] = options as [NodeOptions, NodeOptions, NodeOptions];
    const { cluster } = await n3.entered;
    // A killed etcd may not have noted yet that what it applied last is committed, and discards that from its log.
    const keys = Array.from({ length: KEYS }, (_, index) => `held/${index}`);
    await Promise.all(keys.map((key) => put(n3, key)));
    await until(async () => (await held(n3, "held/")) === KEYS, 5000, "n3 to hold them");
    await Promise.all(nodes.map((node) => node.stop()));

    expect(await n3.recover()).toEqual({ was: cluster, cluster: expect.any(String) });
    const alone = await ground.start(third);
    expect((await alone.entered).cluster).not.toBe(cluster);
    expect(await alone.voters()).toEqual(["n3"]);
    expect(await held(alone, "held/")).toBe(KEYS);

    const back = await ground.start(first);
    expect(await back.entered.then(String, String)).toMatch(
      /MembershipError: n3 has recovered the cluster without this node: move .* away/,
    );
    await Promise.all([back.stop(), n2.wipe()]);
    rmSync(join(back.data, "etcd"), { recursive: true });
    const joined = await startAll(ground, [first, second]);
    await entered(joined);
    expect(joined[0]?.membership.store).toBe(n1.membership.store);
    await until(async () => (await alone.voters()).length === 3, 30_000, "three voters");
    await Promise.all(joined.map((node) => put(node, `later/${node.options.name}`)));
    for (const node of [alone, ...joined]) {
      const has = async (): Promise<boolean> =>
        (await held(node, "held/")) === KEYS && (await held(node, "later/")) === joined.length;
      await until(has, 5000, `${node.options.name} to have what the others have`);
    }
  }, 90_000);
});
