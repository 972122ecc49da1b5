/** A registry that was alone becomes the first node of a cluster, with its data directory. */
import { expect, test } from "bun:test";
import { cpSync, existsSync, globSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { describeEtcd } from "../support/etcd.ts";
import { startCluster, type TestNode } from "../support/cluster.ts";
import { BUN, MAIN, until } from "../support/processes.ts";
import { bytesOf } from "../support/push.ts";
import { startServer } from "../support/server.ts";
import { pull, push, type Image } from "./support/images.ts";
import { recordsOf } from "./support/records.ts";

const SIZES = [500, 70_000, 1_200_000];

/** Records as they are but for where bytes lie, which is the node's own affair. */
function unplaced(records: Map<string, string>): Map<string, string> {
  const strip = (value: string): string => value.replace(/"locator":"[^"]*"/, "");
  return new Map(
    [...records].map(([key, value]) => [key, key.startsWith("blob!") ? strip(value) : value]),
  );
}

async function backup(data: string, file: string): Promise<Map<string, string>> {
  const done = Bun.spawn([BUN, MAIN, "backup", file, "--data", data], {
    stdio: ["ignore", "ignore", "inherit"],
  });
  expect(await done.exited).toBe(0);
  return recordsOf(file);
}

/** Sockets of a dead server are nothing to copy. */
function take(from: string, to: string): void {
  cpSync(from, to, { recursive: true, filter: (path) => !path.endsWith(".sock") });
}

const isTaken = ({ data }: TestNode): boolean => existsSync(join(data, "metadata.before-cluster"));

describeEtcd("solo becomes a cluster in place", () => {
  test("with every image on every node and every move of a tag, killed on the way", async () => {
    const solo = await startServer({ workers: 1 });
    const images: Image[] = [];
    for (let n = 0; n < 20; n++)
      images.push(await push(solo.url, `app-${n}`, "v1", bytesOf(n, SIZES[n % 3] ?? 500)));
    for (let n = 0; n < 3; n++)
      images[n] = await push(solo.url, `app-${n}`, "v1", bytesOf(50 + n, 400));
    const home = join(solo.data, "..");
    const before = unplaced(await backup(solo.data, join(home, "before.tar")));
    expect([...before.keys()].filter((key) => key.startsWith("history!"))).toHaveLength(23);
    // What was answered last is in the database, and not yet in the journal.
    await solo.kill();
    expect(readdirSync(join(solo.data, "packs"))).not.toEqual([]);

    await using cluster = await startCluster({
      workers: 1,
      prepare: ([, n2]) => take(solo.data, n2?.data ?? ""),
      begin: async ([n1, n2, n3]) => {
        if (!n1 || !n2 || !n3) throw new Error("three nodes");
        for (const node of [n1, n3]) node.start();
        // Twice at some time between its first and its last write.
        for (const sign of [/agreed to form/, /filling the cluster with/]) {
          n2.start();
          await until(() => sign.test(n2.logs()), 30_000, `n2 to say ${sign.source}`);
          await n2.kill();
        }
        expect(await fetch(`${n1.url}/v2/`).then(String, () => "refused")).toBe("refused");
        n2.start();
      },
    });
    await solo.stop();
    const [n1, n2, n3] = cluster.nodes as unknown as [TestNode, TestNode, TestNode];
    expect(isTaken(n2)).toBe(true);
    expect(globSync(`${n2.data}/{metadata,packs}/*`)).toEqual([]);
    expect(globSync(`${n2.data}/packs.before-cluster/*`)).not.toEqual([]);
    expect(existsSync(join(n2.data, "bringing"))).toBe(false);
    for (const { url } of cluster.nodes) for (const image of images) await pull(url, image);
    expect(unplaced(await backup(n3.data, join(n3.data, "../after.tar")))).toEqual(before);

    await cluster.healed();
    await n2.kill();
    images.push(await push(n1.url, "app-3", "v2", bytesOf(70, 5000)));
    for (const { url } of [n1, n3]) for (const image of images) await pull(url, image);
    n2.start();
    await n2.ready();
    for (const image of images) await pull(n2.url, image);
  }, 240_000);

  test("is refused where there is a cluster already, and changes nothing", async () => {
    await using solo = await startServer({ workers: 1 });
    const image = await push(solo.url, "app", "v1", bytesOf(1, 5000));
    await using cluster = await startCluster({ workers: 1, nodes: 1 });
    const n2 = cluster.add();
    await n2.ready();
    await n2.kill();
    n2.wipe();
    await solo.kill();
    take(solo.data, n2.data);
    n2.start();
    await until(() => !n2.isRunning, 30_000, "n2 to be refused");
    expect(n2.logs()).toMatch(
      /registry of the shape solo, with which only a new cluster can begin/,
    );
    await using again = await startServer({ workers: 1, data: n2.data });
    await pull(again.url, image);
  }, 120_000);
});
