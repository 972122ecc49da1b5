/** Blobs that not every node holds: two copies of each among three nodes. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { truncateSync } from "node:fs";
import { join } from "node:path";
import { placement } from "../../src/cluster/placement.ts";
import type { Locator } from "../../src/blobs/port.ts";
import { digestAt } from "../shared/support/api.ts";
import { startLoad } from "../shared/support/load.ts";
import { startBalancer } from "../support/balancer.ts";
import { startCluster, type TestCluster, type TestNode } from "../support/cluster.ts";
import { describeEtcd } from "../support/etcd.ts";
import { until } from "../support/processes.ts";
import { bytesOf, pushBlob, sha256 } from "../support/push.ts";
import { randomOf, seedOf } from "../support/random.ts";
import { blobFiles } from "./support/disks.ts";
import { type Image, pull, push } from "./support/images.ts";

const COPIES = 2;
const LARGE = 64 * 2 ** 20;
const REPOSITORY = "held";

describeEtcd("a cluster of three with two copies of each blob", () => {
  let cluster: TestCluster;
  const images: Image[] = [];

  beforeAll(async () => {
    cluster = await startCluster({ settings: { copies: COPIES } });
  }, 120_000);
  afterAll(async () => {
    await cluster[Symbol.asyncDispose]();
  }, 60_000);

  const running = (): TestNode[] => cluster.nodes.filter(({ isRunning }) => isRunning);
  const node = (name: string): TestNode => {
    const found = cluster.nodes.find((one) => one.name === name);
    if (found === undefined) throw new Error(`there is no node ${name}`);
    return found;
  };
  /** Names of the running nodes on whose disk files are, by name of the file; their bytes are right. */
  const holders = (): Map<string, string[]> => {
    const found = new Map<string, string[]>();
    for (const { name, data } of running()) {
      for (const [file, digest] of blobFiles(data)) {
        expect(file).toContain(digest.replace("sha256:", ""));
        found.set(file, [...(found.get(file) ?? []), name]);
      }
    }
    return found;
  };
  const placeOf = (digest: string): { readonly file: string; readonly names: string[] } => {
    const found = [...holders()].find(([file]) => file.includes(digest.replace("sha256:", "")));
    if (found === undefined) throw new Error(`nobody holds ${digest}`);
    return { file: found[0], names: found[1] };
  };
  /** Names of the nodes that should hold a file, the one that is asked first at the head. */
  const rightful = async (file: string): Promise<string[]> => {
    const { nodes = [] } = (await running()[0]?.status()) ?? {};
    const stores = nodes.map(({ name, store }) => ({ name, ...(store === null ? {} : { store }) }));
    return placement(file as Locator, stores, COPIES).holders.map(({ name }) => name);
  };
  const nonHolder = (names: readonly string[]): TestNode => {
    const found = running().find(({ name }) => !names.includes(name));
    if (found === undefined) throw new Error("every node holds it");
    return found;
  };

  test("a pull by a node that does not hold it has the right bytes, ranges too", async () => {
    for (let seed = 1; seed <= 12; seed++) {
      const to = cluster.nodes[seed % 3] as TestNode;
      images.push(await push(to.url, REPOSITORY, `t${seed}`, bytesOf(seed, 40_000 * seed)));
    }
    await cluster.healed();
    for (const [file, names] of holders()) expect(names, file).toHaveLength(COPIES);

    for (const [index, { layer }] of images.entries()) {
      const { names } = placeOf(layer.digest);
      const url = `${nonHolder(names).url}/v2/${REPOSITORY}/blobs/${layer.digest}`;
      const expected = bytesOf(index + 1, layer.size);
      expect(sha256(await (await fetch(url)).bytes())).toBe(layer.digest);
      for (const [range, from, to] of [
        ["bytes=0-0", 0, 1],
        ["bytes=1000-29999", 1000, 30_000],
        ["bytes=39000-", 39_000, layer.size],
        ["bytes=-500", layer.size - 500, layer.size],
      ] as const) {
        const answer = await fetch(url, { headers: { range } });
        expect(answer.status).toBe(206);
        expect(answer.headers.get("content-range")).toBe(`bytes ${from}-${to - 1}/${layer.size}`);
        expect(sha256(await answer.bytes())).toBe(sha256(expected.slice(from, to)));
      }
      const { status } = await fetch(url, { headers: { range: `bytes=${layer.size}-` } });
      expect(status).toBe(416);
    }
  }, 60_000);

  test("the holder that a slow pull comes from dies in its midst: the client has every byte", async () => {
    const digest = await pushBlob(node("n1").url, REPOSITORY, bytesOf(99, LARGE));
    await cluster.healed();
    const { file, names } = placeOf(digest);
    const by = nonHolder(names);
    const [source = ""] = await rightful(file);
    expect(names).toContain(source);

    const began = performance.now();
    const slow = Bun.spawn(
      ["curl", "-sSf", "--limit-rate", "16M", `${by.url}/v2/${REPOSITORY}/blobs/${digest}`],
      { stdout: "pipe", stderr: "pipe" },
    );
    const hasher = new Bun.CryptoHasher("sha256");
    const read = (async () => {
      for await (const chunk of slow.stdout) hasher.update(chunk);
    })();
    await Bun.sleep(1000);
    await node(source).kill();
    await read;
    expect(await slow.exited, await slow.stderr.text()).toBe(0);
    expect(`sha256:${hasher.digest("hex")}`).toBe(digest);
    expect(performance.now() - began).toBeGreaterThan(3000);
    expect(by.logs()).toMatch(
      new RegExp(`broke off a blob that was read through.*"node":"${source}"`),
    );
    node(source).start();
    await node(source).ready();
  }, 60_000);

  test("a copy that was cut short is not served, and is made whole", async () => {
    const [{ digest, layer }] = images as [Image];
    const rotten = [digest, layer.digest].map((one) => placeOf(one));
    for (const { file, names } of rotten)
      truncateSync(join(node(names[0] as string).data, file), 100);
    for (const one of cluster.nodes) await pull(one.url, images[0] as Image);
    const isWhole = () => {
      try {
        return [digest, layer.digest].every((one) => placeOf(one).names.length === COPIES);
      } catch {
        // The bytes of a file are not what its name says.
        return false;
      }
    };
    await until(isWhole, 20_000, "the copies to be whole");
    for (const one of cluster.nodes) await pull(one.url, images[0] as Image);
  }, 60_000);

  test("a node is drained and removed, and what it held is on the others", async () => {
    const [leaving, asked] = [node("n3"), node("n1")];
    const held = blobFiles(leaving.data).size;
    expect(held).toBeGreaterThan(5);
    const refusal = await asked.command("node", "remove", "n3").catch(String);
    expect(refusal).toContain("drain it first");

    expect(await asked.command("node", "drain", "n3")).toContain("n3 takes no new copies");
    const isDone = async () => {
      const { nodes } = await asked.status();
      return nodes.find(({ name }) => name === "n3")?.stillNeeded === 0;
    };
    await until(isDone, 60_000, "nothing on n3 to be needed");
    expect(await asked.command("status")).toContain("n3 holds nothing that is still needed");
    for (const [file, names] of holders()) expect(names, file).toContainValues(["n1", "n2"]);

    expect(await asked.command("node", "remove", "n3")).toContain("no node of this cluster");
    await until(() => !leaving.isRunning, 20_000, "n3 to end");
    expect(leaving.logs()).toContain("n3 was taken out of the cluster");
    // Its directory is that of no node any more.
    leaving.start();
    await until(() => !leaving.isRunning, 20_000, "n3 to end again");
    expect(leaving.logs()).toContain("the others have taken n3 out of the cluster: to have it");
    leaving.wipe();
    const names = (await asked.status()).nodes.map(({ name }) => name);
    expect(names).toEqual(["n1", "n2"]);
    for (const one of running()) for (const image of images) await pull(one.url, image);
    images.push(await push(asked.url, REPOSITORY, "after", bytesOf(77, 5000)));
  }, 120_000);

  test("a fourth joins under load without a failed pull, and gets its share", async () => {
    await using balancer = await startBalancer(running);
    const load = startLoad({
      url: balancer.url,
      random: randomOf(seedOf("holders")),
      pushers: 1,
      pullers: 3,
      wasKilledSince: () => false,
    });
    await Bun.sleep(2000);
    const fourth = cluster.add();
    await fourth.ready();
    await Bun.sleep(2000);
    await load.stop();
    expect(load.failures).toEqual([]);
    expect(load.pulls).toBeGreaterThan(100);
    await cluster.healed();

    const all = holders();
    for (const [file, names] of all) expect(names.length, file).toBeGreaterThanOrEqual(COPIES);
    const share = [...all.values()].filter((names) => names.includes(fourth.name)).length;
    console.log(
      `${load.pulls} pulls, ${load.images.length} pushes; ${share} of ${all.size} blobs on n4`,
    );
    // Two of three.
    expect(share / all.size).toBeGreaterThan(0.4);
    for (const image of images) await pull(fourth.url, image);
    for (const { repository, digest, layer } of load.images) {
      expect(await digestAt(fourth, `/v2/${repository}/manifests/${digest}`)).toBe(digest);
      expect(await digestAt(fourth, `/v2/${repository}/blobs/${layer}`)).toBe(layer);
    }
  }, 120_000);
});
