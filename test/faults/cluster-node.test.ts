/** Nodes of a cluster that are ended, removed, recovered or started where they should not be. Real processes. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import {
  cpSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { addLearner, etcdUrl, listMembers, removeMember } from "../../src/cluster/etcd/index.ts";
import { ClusterCertificates, clusterKeys, connectPeers } from "../../src/cluster/peer/index.ts";
import { EtcdClient } from "../../src/meta/etcd/client.ts";
import { startCluster, type TestCluster, type TestNode } from "../support/cluster.ts";
import { describeEtcd } from "../support/etcd.ts";
import { runHoldfast } from "../support/failed-start.ts";
import { alive, BUN, descendants, freePort, MAIN, signal, until } from "../support/processes.ts";

const SECRET = "a secret of these tests, long enough to be one";
/** Well below the patience with which etcd or workers are ended. */
const AT_ONCE_MS = 4000;

/** Sends SIGTERM and resolves to how it ended. */
async function endedBySigterm(pid: number, exited: Promise<number>) {
  const others = descendants(pid);
  const began = performance.now();
  signal(pid, "SIGTERM");
  const code = await Promise.race([exited, Bun.sleep(30_000).then(() => "hang")]);
  const ms = performance.now() - began;
  return { code, isAtOnce: ms < AT_ONCE_MS, left: others.filter(alive) };
}

const WELL = { code: 0, isAtOnce: true, left: [] };

describeEtcd("a node that waits for the others", () => {
  test("ends at once on SIGTERM, and says which machine it waits for", async () => {
    const home = mkdtempSync(join(tmpdir(), "holdfast-waiting-"));
    const member = (host: number): string => `127.88.7.${host}:5080`;
    const file = join(home, "config.yml");
    writeFileSync(
      file,
      JSON.stringify({
        listen: `127.0.0.1:${freePort()}`,
        metrics: { listen: "off" },
        data: join(home, "data"),
        cluster: {
          node: "n1",
          secret: SECRET,
          members: { n1: member(1), n2: member(2), n3: member(3) },
        },
      }),
    );
    const child = Bun.spawn([BUN, MAIN, "serve", "--config", file], {
      stdio: ["ignore", "pipe", "pipe"],
      env: { PATH: process.env["PATH"] ?? "" },
    });
    try {
      const said = child.stderr.text();
      const written = child.stdout.text();
      await Bun.sleep(2500);
      const asked = await runHoldfast(["status", "--data", join(home, "data")]);
      expect(asked.code).toBe(1);
      expect(asked.stderr).toContain("see in its log what it waits for");
      expect(await endedBySigterm(child.pid, child.exited)).toEqual(WELL);
      expect((await written) + (await said)).toContain("nothing listens at 127.88.7.2:5080");
    } finally {
      child.kill("SIGKILL");
      rmSync(home, { recursive: true, force: true });
    }
  }, 60_000);
});

describeEtcd("three nodes", () => {
  let cluster: TestCluster;
  let nodes: readonly [TestNode, TestNode, TestNode];
  beforeAll(async () => {
    cluster = await startCluster({ workers: 1 });
    nodes = cluster.nodes as unknown as typeof nodes;
  }, 120_000);
  afterAll(() => Promise.all(cluster.nodes.map((node) => node.kill())));

  const command = (node: TestNode, ...args: string[]) =>
    runHoldfast([...args, "--data", node.data], { timeout: 40_000 });
  const names = async (node: TestNode): Promise<string[]> =>
    (await node.status()).nodes.map(({ name }) => name);
  const voters = async (node: TestNode): Promise<number | null> =>
    (await node.status()).quorum.voters;

  test("forward to each other what concerns uploads, and nothing else", async () => {
    const keys = clusterKeys(SECRET);
    using certificates = new ClusterCertificates({ keys, node: "n2", hosts: [] });
    using peers = connectPeers({ keys, certificates, self: "n2" });
    const address = (await nodes[0].status()).nodes[0]?.address ?? "";
    const asked = async (method: "GET" | "PATCH" | "DELETE", path: string): Promise<number> => {
      const request = { method, timeoutMs: 5000 } as const;
      return (await peers.fetch(address, `/v1/forward${path}`, request)).status;
    };
    expect(await asked("GET", "/v2/_catalog")).toBe(404);
    expect(await asked("GET", "/v2/")).toBe(404);
    expect(await asked("DELETE", "/v2/a/manifests/latest")).toBe(404);
    expect(await asked("GET", "/v2/a/blobs/uploads/x/../../../../_catalog")).toBe(404);
    expect(await asked("GET", "/readyz")).toBe(404);
    // It came as far as the registry, which says that there is none.
    const body = { method: "GET", timeoutMs: 5000 } as const;
    const path = "/v1/forward/v2/a/blobs/uploads/11111111-2222-3333-4444-555555555555";
    expect(await (await peers.fetch(address, path, body)).text()).toContain("BLOB_UPLOAD_UNKNOWN");
  }, 30_000);

  test("are not recovered as one while others run", async () => {
    const [n1, , n3] = nodes;
    await n3.kill();
    const config = join(n3.data, "..", "n3.yml");
    const refused = await runHoldfast(
      ["node", "recover", "--force", "--config", config, "--data", n3.data],
      { timeout: 40_000 },
    );
    expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining("n1, n2 still run") });
    n3.start();
    await n3.ready();
    expect((await n1.status()).quorum.reached).toBe(true);
  }, 60_000);

  test("keep a node whose vote is needed, whatever is forced", async () => {
    const [n1, n2, n3] = nodes;
    await n3.kill();
    const refused = await command(n1, "node", "remove", "n2", "--force");
    expect(refused).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("without n2 only 1 of 2 voters would answer"),
    });
    expect(await names(n1)).toEqual(["n1", "n2", "n3"]);
    expect(n2.isRunning).toBe(true);
    n3.start();
    await n3.ready();
  }, 60_000);

  test("lose one for good: it ends, stays away with its data, and joins anew without them", async () => {
    const [n1, , n3] = nodes;
    await until(async () => (await n1.status()).quorum.votersLive === 3, 20_000, "three voters");
    expect(await command(n1, "node", "remove", "n3", "--force")).toMatchObject({ code: 0 });
    await until(() => !n3.isRunning, 15_000, "n3 to end");
    expect(n3.logs()).toMatch(/n3 was taken out of the cluster|have taken n3 out of the cluster/);
    await until(async () => (await voters(n1)) === 2, 10_000, "two voters");

    n3.start();
    await until(() => !n3.isRunning, 30_000, "n3 to refuse");
    expect(n3.logs().trim().split("\n").at(-1)).toContain("have taken n3 out of the cluster");
    expect(await names(n1)).toEqual(["n1", "n2"]);

    renameSync(join(n3.data, "etcd"), join(n3.data, "etcd-former"));
    n3.start();
    await n3.ready();
    await until(async () => (await voters(n1)) === 3, 30_000, "three voters again");
    expect(await names(n1)).toEqual(["n1", "n2", "n3"]);
  }, 120_000);

  test("a removal that came half way is finished by the same command", async () => {
    const [n1, , n3] = nodes;
    const absent = await command(n1, "node", "remove", "n9");
    expect(absent.stderr).toBe('holdfast: there is no node "n9"; the cluster has n1, n2, n3\n');
    await n3.kill();
    const addressOf = async (index: number): Promise<string> =>
      (await n1.status()).nodes[index]?.address ?? "";
    const etcdOfN3 = (await addressOf(2)).replace(/\d+$/, "5081");
    const misnamed = await command(n1, "node", "remove", etcdOfN3);
    expect(misnamed.stderr).toBe(`holdfast: ${etcdOfN3} is the etcd of node n3: name that\n`);
    using certificates = new ClusterCertificates({
      keys: clusterKeys(SECRET),
      node: "n1",
      hosts: [],
    });
    const client = etcdUrl((await addressOf(0)).replace(/\d+$/, "5082"));
    const api = new EtcdClient({ endpoints: [client], tls: certificates.current() });

    // The node is left without its member of etcd.
    const { id = "" } = (await listMembers(api)).find(({ name }) => name === "n3") ?? {};
    await removeMember(api, id);
    expect(await command(n1, "node", "remove", "n3", "--force")).toMatchObject({ code: 0 });
    await until(async () => (await names(n1)).length === 2, 5000, "n3 to be gone");

    // A member of etcd whose node has never come up.
    const stranger = etcdOfN3.replace(/\d+:/, "99:");
    await until(
      () => addLearner(api, etcdUrl(stranger)).then(Boolean, () => false),
      15_000,
      "a learner to be let in",
    );
    expect(await command(n1, "node", "remove", stranger)).toMatchObject({ code: 0, stderr: "" });
    expect(await listMembers(api)).toHaveLength(2);
  }, 60_000);

  test("a clock that is wrong is named, by its node and by status, though etcd does not mind", async () => {
    const [n1, n2] = nodes;
    await n2.stop();
    const home = join(n2.data, "..");
    const [clock, log] = [join(home, "clock.ts"), join(home, "clock.log")];
    writeFileSync(clock, "const now = Date.now.bind(Date);\nDate.now = () => now() + 3_600_000;\n");
    const child = Bun.spawn(
      [BUN, MAIN, "serve", "--config", join(home, "n2.yml"), "--data", n2.data],
      {
        stdio: ["ignore", Bun.file(log), Bun.file(log)],
        env: { PATH: process.env["PATH"] ?? "", BUN_OPTIONS: `--preload ${clock}` },
      },
    );
    try {
      const isSeen = async (): Promise<boolean> =>
        (await n1.status()).obstacles?.some((cause) => cause.includes("3600 s")) === true;
      await until(isSeen, 30_000, "the clock to be seen");
      const status = await command(n1, "status");
      expect(status.code).toBe(1);
      expect(status.stdout).toMatch(
        /n1 gets no answer from n2: .* clock of node n1 is 3600 s behind/,
      );
      const isSaid = (): boolean =>
        /nodes that live do not answer this one: n1: .* clock of node n2 is 3600 s ahead of/.test(
          readFileSync(log, "utf8"),
        );
      await until(isSaid, 30_000, "n2 to say so itself");
      const isUnready = async (): Promise<boolean> => {
        const answer = await fetch(`${n2.url}/readyz`);
        return answer.status === 503 && (await answer.text()).includes("only 1 answer here");
      };
      await until(isUnready, 15_000, "n2 to say that it is not ready");
      child.kill("SIGTERM");
      expect(await child.exited).toBe(0);
    } finally {
      child.kill("SIGKILL");
      await child.exited;
      n2.start();
      await n2.ready();
    }
    const isOver = async (): Promise<boolean> => (await n1.status()).obstacles?.length === 0;
    await until(isOver, 15_000, "n2 to be reached");
  }, 90_000);

  test("a copied disk does not run beside the one that it is a copy of", async () => {
    const [n1, n2] = nodes;
    const home = join(n2.data, "..");
    const config = JSON.parse(readFileSync(join(home, "n2.yml"), "utf8")) as {
      cluster: { listen: string };
    };
    const elsewhere = config.cluster.listen.replace(/\d+:/, "77:");
    const file = join(home, "twin.yml");
    const cluster = { ...config.cluster, listen: elsewhere };
    writeFileSync(file, JSON.stringify({ ...config, listen: `127.0.0.1:${freePort()}`, cluster }));
    const data = join(home, "twin");
    cpSync(n2.data, data, { recursive: true, filter: (path) => !path.endsWith(".sock") });
    const twin = await runHoldfast(["serve", "--config", file, "--data", data]);
    expect(twin.stderr).toContain(`another process runs on a copy of ${data}`);
    expect(twin.stdout + twin.stderr).not.toContain("etcd started");
    expect(twin.code).toBe(1);
    expect((await n1.status()).quorum.reached).toBe(true);
  }, 30_000);

  test("a member with another secret, or on a port that is taken, says so", async () => {
    const [n1] = nodes;
    await n1.kill();
    const file = join(n1.data, "..", "n1.yml");
    const config = JSON.parse(readFileSync(file, "utf8")) as { cluster: Record<string, unknown> };
    const { secretFile: _, ...rest } = config.cluster;
    const other = join(n1.data, "..", "other.yml");
    writeFileSync(
      other,
      JSON.stringify({
        ...config,
        cluster: { ...rest, secret: "another secret, of more than 32 bytes" },
      }),
    );
    const start = (path: string, timeout: number) =>
      runHoldfast(["serve", "--config", path, "--data", n1.data], { timeout });
    const strange = await start(other, 14_000);
    expect(strange.stdout + strange.stderr).toMatch(
      /waiting for etcd: n2: the node at [^ ]* shows a certificate of another cluster/,
    );

    const [hostname = "", port] = String(config.cluster["listen"]).split(":");
    using _taken = Bun.listen({ hostname, port: Number(port), socket: { data() {} } });
    const hindered = await start(file, 14_000);
    expect(hindered).toMatchObject({
      code: 1,
      stderr: expect.stringContaining(`another program already listens on ${hostname}:${port}`),
    });
  }, 60_000);

  test("a single one, without quorum, ends at once on SIGTERM; nobody opens its data as solo", async () => {
    const [n1, n2] = nodes;
    await n2.kill();
    n1.start();
    const isWaiting = (): boolean => descendants(n1.pid).length > 0;
    await until(isWaiting, 10_000, "etcd to be started");
    await Bun.sleep(3000);
    const processes = descendants(n1.pid);
    const began = performance.now();
    await n1.stop();
    expect(performance.now() - began).toBeLessThan(AT_ONCE_MS);
    expect(processes.filter(alive)).toEqual([]);

    for (const args of [["serve", "--listen", `127.0.0.1:${freePort()}`], ["rebuild"]]) {
      const solo = await command(n1, ...args);
      expect(solo.code).not.toBe(0);
      expect(solo.stderr).toContain("is that of a node of a cluster");
    }
    expect(existsSync(join(n1.data, "metadata"))).toBe(false);
  }, 60_000);
});
