/** Links between machines are cut, both ways and one way: who is with the majority goes on, who is not says so. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { request } from "../shared/support/api.ts";
import { startCluster, type TestCluster, type TestNode } from "../support/cluster.ts";
import { etcdObstacle } from "../support/etcd.ts";
import { until } from "../support/processes.ts";
import { bytesOf, imageManifest, MANIFEST_TYPE, pushBlob, sha256 } from "../support/push.ts";
import { blobFiles } from "./support/disks.ts";
import { type Image, pull, push } from "./support/images.ts";
import { leaderOf } from "./support/leader.ts";
import { type Network, networkObstacle, newNetwork } from "./support/network.ts";

const REPOSITORY = "parted";
/** Until the majority takes pushes, at most. */
const MAJORITY_MS = 10_000;
/** HOLDFAST_CLUSTER_ROUNDS makes it longer or shorter. */
const ROUNDS = Number(process.env["HOLDFAST_CLUSTER_ROUNDS"] ?? 1);
/** Until the cut node refuses a push, at most: promised are 2 s, which an idle machine keeps and a busy one need not. */
const REFUSAL_MS = 6000;
/** Until a node that is ready shows nothing old any more, at most. */
const FRESH_MS = 3000;
const obstacle = etcdObstacle ?? networkObstacle;

const suite = () => {
  let network: Network;
  let cluster: TestCluster;
  let seed = 1;
  const images: Image[] = [];

  beforeAll(async () => {
    network = newNetwork(3);
    cluster = await startCluster({ hosts: network.hosts });
  }, 120_000);
  afterAll(async () => {
    try {
      network.heal();
      await cluster[Symbol.asyncDispose]();
    } finally {
      network[Symbol.dispose]();
    }
  }, 60_000);

  const pushed = async (node: TestNode, tag: string): Promise<Image> => {
    const image = await push(node.url, REPOSITORY, tag, bytesOf(seed++, 30_000));
    images.push(image);
    return image;
  };
  /** The same, until it is acknowledged; `503` is no answer. */
  const pushedAtLast = async (node: TestNode, tag: string): Promise<Image> => {
    for (;;) {
      try {
        return await pushed(node, tag);
      } catch (error) {
        if (!String(error).includes("got 503")) throw error;
        await Bun.sleep(100);
      }
    }
  };
  /** The digest of a tag, and whether the answer says that it may be old. */
  const seen = async (node: TestNode, tag: string) => {
    const answer = await request(node, `/v2/${REPOSITORY}/manifests/${tag}`);
    const text = await answer.text();
    if (answer.status !== 200) throw new Error(`${node.name} answered ${answer.status}: ${text}`);
    return { digest: sha256(text), isOld: answer.headers.has("warning") };
  };
  /** Milliseconds until a push is refused. */
  const refused = async (node: TestNode, path: string, init: RequestInit): Promise<number> => {
    const began = performance.now();
    const answer = await fetch(`${node.url}/v2/${REPOSITORY}/${path}`, init);
    const text = await answer.text();
    expect(answer.status, text).toBe(503);
    expect(answer.headers.get("retry-after")).not.toBeNull();
    return Math.round(performance.now() - began);
  };

  const blobPush = (): [string, RequestInit] => {
    const body = bytesOf(seed++, 100);
    return [`blobs/uploads/?digest=${sha256(body)}`, { method: "POST", body }];
  };

  const cuts: [string, (cut: number, other: number) => void][] = [
    ["neither hears nor is heard", (a, b) => (network.lose(a, b), network.lose(b, a))],
    ["does not hear", (a, b) => network.lose(b, a)],
    ["is not heard", (a, b) => network.lose(a, b)],
  ];
  test.each(cuts.slice(0, ROUNDS))(
    "the leading node %s",
    async (_, lose) => {
      // What the one before may have left.
      network.heal();
      for (const node of cluster.nodes) await node.ready();
      const cut = await leaderOf(cluster);
      const [one, two] = cluster.nodes.filter((node) => node !== cut) as [TestNode, TestNode];
      const kept = await pushed(one, "kept");
      const before = await pushed(two, "moving");
      const manifest = imageManifest({
        config: { digest: await pushBlob(cut.url, REPOSITORY, bytesOf(1, 10)), size: 10 },
        layers: [],
      });
      await cluster.healed();
      const cutAt = cluster.nodes.indexOf(cut);
      for (const other of [one, two]) lose(cutAt, cluster.nodes.indexOf(other));
      const began = performance.now();

      // The cut node and the others, at the same time.
      const refusals = Promise.all([
        refused(cut, `manifests/refused`, {
          method: "PUT",
          body: manifest,
          headers: { "Content-Type": MANIFEST_TYPE },
        }),
        refused(cut, ...blobPush()),
      ]);
      const after = await pushedAtLast(one, "moving");
      const took = Math.round(performance.now() - began);
      await pull(two.url, after);
      const times = await refusals;
      console.log(
        `majority took a push after ${took} ms; the cut node refused in ${times.join()} ms`,
      );
      expect(took).toBeLessThan(MAJORITY_MS);

      for (let turn = 0; turn < 10; turn++) {
        const shown = await seen(cut, "moving");
        expect(shown).toEqual({ digest: before.digest, isOld: true });
        await pull(cut.url, kept);
        for (const other of [one, two])
          expect(await seen(other, "moving")).toEqual({ digest: after.digest, isOld: false });
      }
      const isUnready = async () => (await request(cut, "/readyz")).status === 503;
      await until(isUnready, 10_000, `${cut.name} to say that it is not ready`);
      const again: number[] = [];
      for (let turn = 0; turn < 3; turn++) again.push(await refused(cut, ...blobPush()));
      // Nor is it said of anything that it is gone: the others may have pushed it since.
      again.push(await refused(cut, "manifests/none", { method: "DELETE" }));
      console.log(`later: ${again.join()} ms`);

      // Whatever is seen from here on is the new one, or is said to be old.
      let isOver = false;
      const look = async (): Promise<void> => {
        while (!isOver) {
          const { digest, isOld } = await seen(cut, "moving");
          expect(isOld ? [before.digest, after.digest] : [after.digest]).toContain(digest);
        }
      };
      const looks = Promise.all([look(), look(), look()]).finally(() => (isOver = true));
      looks.catch(() => {});
      network.heal();
      const healed = performance.now();
      await cut.ready();
      const ready = performance.now();
      // One worker may have come back before another.
      const isFresh = async () => {
        for (let turn = 0; turn < 20; turn++) if ((await seen(cut, "moving")).isOld) return false;
        return true;
      };
      await until(isFresh, FRESH_MS, "the new state to be shown");
      const fresh = performance.now();
      console.log(
        `ready ${Math.round(ready - healed)} ms after the link was healed, and ` +
          `nothing old ${Math.round(fresh - ready)} ms later`,
      );
      isOver = true;
      await looks;
      await push(cut.url, REPOSITORY, "refused", bytesOf(seed++, 100));
      await cluster.healed();
      for (const node of cluster.nodes)
        for (const image of images) await pull(node.url, { ...image, tag: image.digest });
      for (const { data } of cluster.nodes) {
        const held = new Set(blobFiles(data).values());
        for (const { digest, layer } of images)
          expect(held.has(digest) && held.has(layer.digest)).toBe(true);
      }
      for (const ms of [...times, ...again]) expect(ms).toBeLessThan(REFUSAL_MS);
    },
    120_000,
  );
};

if (obstacle === undefined) describe("a cluster whose links are cut", suite);
else test.skip(`a cluster whose links are cut (${obstacle})`, () => {});
