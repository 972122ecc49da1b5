/** The metadata of a running cluster saved to a file, and a new cluster that begins with it. */
import { expect, test } from "bun:test";
import {
  cpSync,
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { keys } from "../../src/meta/keys.ts";
import { openWriter } from "../../src/meta/sqlite/index.ts";
import { describeEtcd } from "../support/etcd.ts";
import { startCluster, type TestCluster, type TestNode } from "../support/cluster.ts";
import { BUN, descendants, MAIN, signal, until } from "../support/processes.ts";
import { bytesOf } from "../support/push.ts";
import { startServer } from "../support/server.ts";
import { pull, pullProblem, push, type Image } from "./support/images.ts";
import { recordsOf } from "./support/records.ts";

const SIZES = [500, 70_000, 1_200_000];
const configOf = ({ data }: TestNode): string => `${data}.yml`;

async function pushed(url: string, from: number, count: number): Promise<Image[]> {
  const numbers = Array.from({ length: count }, (_, i) => from + i);
  return Promise.all(
    numbers.map((n) => push(url, `team/app-${n}`, "v1", bytesOf(n, SIZES[n % 3] ?? 500))),
  );
}

/** What a command says that is refused. */
async function refusal(node: TestNode, ...words: string[]): Promise<string> {
  return node.command(...words).then(
    (out) => `not refused: ${out}`,
    (error: unknown) => String(error),
  );
}

/** All metadata are gone, and who was who. */
function forget({ data }: TestNode): void {
  rmSync(join(data, "etcd"), { recursive: true });
  rmSync(join(data, "cluster.json"));
}

function isMember({ data }: TestNode): boolean {
  const file = join(data, "cluster.json");
  return existsSync(file) && readFileSync(file, "utf8").includes('"phase": "member"');
}

/** Kills the restoring of a node when it has got so far. */
async function restoreKilled(node: TestNode, file: string, when: () => boolean): Promise<void> {
  const words = ["restore", file, "--config", configOf(node), "--data", node.data];
  const child = Bun.spawn([BUN, MAIN, ...words], { stdio: ["ignore", "ignore", "ignore"] });
  await until(when, 30_000, "the restoring to come so far");
  for (const pid of [...descendants(child.pid), child.pid]) signal(pid, "SIGKILL");
  await child.exited;
}

function three(cluster: TestCluster): [TestNode, TestNode, TestNode] {
  return cluster.nodes as unknown as [TestNode, TestNode, TestNode];
}

test("of a registry that is alone: on the disk it was on, on an empty one, and on no other", async () => {
  const home = mkdtempSync(join(tmpdir(), "holdfast-backup-"));
  const command = async (...words: string[]): Promise<string> => {
    const stdio = ["ignore", "pipe", "pipe"] as const;
    const done = Bun.spawn([BUN, MAIN, ...words], { stdio: [...stdio], env: {} });
    const [out, err] = await Promise.all([done.stdout.text(), done.stderr.text()]);
    return (await done.exited) === 0 ? out : `${done.exitCode}: ${err}`;
  };
  const file = join(home, "backup.tar");
  const restore = (data: string): Promise<string> => command("restore", file, "--data", data);
  try {
    const data = join(home, "data");
    await using server = await startServer({ workers: 1, data });
    const images = await pushed(server.url, 0, 6);
    expect(await command("backup", file, "--data", data)).toStartWith("Done: ");
    expect(await command("backup", join(home, "no/file"), "--data", data)).toMatch(
      /^1: .*cannot write in .*ENOENT.*: choose another place/s,
    );
    expect(await restore(data)).toMatch(/^1: .*another holdfast .* already serves/s);
    await server.stop();
    expect(await restore(data)).toMatch(
      /^1: .*the registry in .* is not empty: move .*metadata away/s,
    );

    rmSync(join(data, "metadata"), { recursive: true });
    // What a restoring leaves that was killed.
    const half = openWriter({ path: join(data, "metadata", "holdfast.db") });
    await half.commit({
      put: [keys.restoring, keys.blob("sha256:0")].map((key) => ({ key, value: "{}" })),
    });
    await half.close();
    expect(await restore(data)).toMatch(
      /^Done: \d+ records, .*\nWhat was there before is in .*\n18 blobs named, none lost\.\n$/,
    );
    await using again = await startServer({ workers: 1, data });
    for (const image of images) await pull(again.url, image);
    await again.stop();

    const empty = join(home, "empty");
    expect(await restore(empty)).toMatch(
      /^Done: .*\n18 of 18 blobs named have no copy anywhere:\n/,
    );
    const other = join(home, "other");
    await using stranger = await startServer({ workers: 1, data: other });
    await pushed(stranger.url, 0, 1);
    await stranger.stop();
    rmSync(join(other, "metadata"), { recursive: true });
    expect(await restore(other)).toMatch(
      /^1: .*is a backup of installation \w+, and .*other belongs to installation \w+: name another/s,
    );
  } finally {
    rmSync(home, { recursive: true, force: true });
  }
}, 60_000);

describeEtcd("backup and restore", () => {
  test("of a registry that was alone, into a cluster, on its disk: what fails is done again, and later, too", async () => {
    const solo = await startServer({ workers: 1 });
    const images: Image[] = [];
    for (let n = 0; n < 8; n++)
      images.push(await push(solo.url, `app-${n}`, "v1", bytesOf(n, 500)));
    const home = mkdtempSync(join(tmpdir(), "holdfast-backup-"));
    const file = join(home, "solo.tar");
    const done = Bun.spawn([BUN, MAIN, "backup", file, "--data", solo.data], {
      stdio: ["ignore", "ignore", "inherit"],
    });
    expect(await done.exited).toBe(0);
    await solo.kill();
    const restore = (node: TestNode) => node.command("restore", file, "--config", configOf(node));
    const none = /^Done: .*\n24 blobs named, none lost\.\n$/m;
    try {
      await using cluster = await startCluster({
        workers: 1,
        begin: async ([n1, n2, n3]) => {
          if (!n1 || !n2 || !n3) throw new Error("three nodes");
          // Writes its configuration.
          n2.start();
          await n2.kill();
          n2.wipe();
          for (const name of ["packs", "journal"])
            cpSync(join(solo.data, name), join(n2.data, name), { recursive: true });
          for (const node of [n1, n3]) node.start();
          // One of the blobs finds no place.
          const hex = images[0]?.layer.digest.slice(7) ?? "";
          const obstacle = join(n2.data, "blobs/sha256", hex.slice(0, 2));
          mkdirSync(join(obstacle, ".."), { recursive: true });
          writeFileSync(obstacle, "");
          expect(await refusal(n2, "restore", file, "--config", configOf(n2))).toContain(
            "ended with 1",
          );
          expect(await fetch(`${n3.url}/v2/`).then(String, () => "refused")).toBe("refused");
          rmSync(obstacle);
          expect(await restore(n2)).toMatch(none);
          n2.start();
        },
      });
      const [n1, n2, n3] = three(cluster);
      expect(globSync(`${n2.data}/packs/*`)).toEqual([]);
      expect(globSync(`${n2.data}/packs.before-cluster/*`)).not.toEqual([]);
      for (const { url } of cluster.nodes) for (const image of images) await pull(url, image);

      // The same backup, which names packs, when all blobs are gone that the cluster had.
      await Promise.all(cluster.nodes.map((node) => node.stop()));
      for (const node of cluster.nodes) forget(node);
      for (const { data } of cluster.nodes) rmSync(join(data, "blobs"), { recursive: true });
      n1.start();
      n3.start();
      const words = ["restore", file, "--config", configOf(n2), "--data", n2.data];
      const child = Bun.spawn([BUN, MAIN, ...words], { stdio: ["ignore", "pipe", "inherit"] });
      await until(() => [n2, n3].every(isMember), 30_000, "the cluster to be formed");
      // It does not say which blobs it has, which is waited for.
      await n3.kill();
      await n1.ready();
      child.kill("SIGINT");
      expect(await child.stdout.text()).toMatch(
        /^Done: .*\nBlobs without a copy were not looked for: it was interr/m,
      );
      expect(await child.exited).toBe(0);
      for (const node of [n2, n3]) node.start();
      await Promise.all(cluster.nodes.map((node) => node.ready()));
      for (const { url } of cluster.nodes) for (const image of images) await pull(url, image);
    } finally {
      await solo.stop();
      rmSync(home, { recursive: true, force: true });
    }
  }, 240_000);

  test("a new cluster has what was backed up under way, finds its blobs, and names what is lost", async () => {
    await using cluster = await startCluster({ workers: 1 });
    const [n1, n2, n3] = three(cluster);
    const file = join(n1.data, "../backup.tar");
    const images = await pushed(n1.url, 0, 12);
    const [moved] = images;
    if (moved === undefined) throw new Error("no image");
    const again = await push(n2.url, moved.repository, "v1", bytesOf(99, 900));
    images[0] = again;
    const meanwhile = pushed(n3.url, 100, 10);
    expect(await n2.command("backup", file)).toMatch(/^Done: .*backup\.tar, .* KiB, as of 20/);
    await meanwhile;
    expect(await refusal(n2, "backup", file)).toMatch(/is there already: .* --force/);
    const records = await recordsOf(file);
    expect([...records.keys()].filter((key) => key.startsWith("history!team/app-0!"))).toHaveLength(
      2,
    );

    await cluster.healed();
    await n1.stop();
    expect(await refusal(n1, "restore", file, "--config", configOf(n1))).toMatch(
      /the cluster is in use: .* move etcd and cluster.json out/,
    );
    await Promise.all([n2.stop(), n3.kill()]);
    for (const node of [n1, n2]) forget(node);
    n3.wipe();
    const victim = images[1]?.layer.digest.slice(7) ?? "";
    for (const { data } of [n1, n2]) {
      const copies = globSync(`${data}/blobs/sha256/*/${victim}.*`);
      expect(copies.length).toBe(1);
      for (const path of copies) rmSync(path);
    }

    // The others serve nobody until the records are there; a restoring that was killed is done again.
    n2.start();
    n3.start();
    await restoreKilled(n1, file, () => isMember(n1));
    await until(
      () => /waiting for n1 to fill the new/.test(n3.logs()),
      30_000,
      "n3 to wait for n1",
    );
    expect(await fetch(`${n3.url}/v2/`).then(String, () => "refused")).toBe("refused");
    n1.start();
    await until(() => !n1.isRunning, 60_000, "n1 to say that it was to be filled");
    expect(n1.logs()).toMatch(
      /formed to be filled by this node, .* run the same `holdfast restore`/,
    );
    const said = await n1.command("restore", file, "--config", configOf(n1));
    expect(said).toMatch(/^Done: \d+ records, as of 20.*\n1 of \d+ blobs named have no copy any/m);
    expect(said).toContain(`sha256:${victim} (of team/app-1)`);
    n1.start();
    await Promise.all(cluster.nodes.map((node) => node.ready()));

    const lost = images.splice(1, 1);
    for (const { url } of cluster.nodes) for (const image of images) await pull(url, image);
    for (const image of lost) expect(await pullProblem(n1.url, image)).toMatch(/blob answered 404/);
    const later = join(n1.data, "../later.tar");
    await n3.command("backup", later);
    expect(await recordsOf(later)).toEqual(records);
    images.push(...(await pushed(n3.url, 1, 1)), ...(await pushed(n2.url, 200, 3)));
    await cluster.healed();
    await n1.kill();
    for (const { url } of [n2, n3]) for (const image of images) await pull(url, image);
    expect(existsSync(join(n2.data, "journal"))).toBe(true);
  }, 240_000);
});
