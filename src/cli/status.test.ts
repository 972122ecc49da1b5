import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ClusterStatus, NodeStatus } from "../app/cluster-status.ts";
import { problemsOf, statusText } from "./status-text.ts";

const GIB = 2 ** 30;

function node(name: string, change: Partial<NodeStatus> = {}): NodeStatus {
  return {
    name,
    address: `10.0.0.${name.slice(1)}:5080`,
    zone: null,
    live: true,
    downMs: 0,
    draining: false,
    stillNeeded: null,
    store: `store-${name}`,
    version: "0.1.0",
    disk: { free: 80 * GIB, total: 100 * GIB },
    etcd: name === "n1" ? "leader" : "voter",
    healing: { missingBlobs: 0, missingBytes: 0, bytesPerSecond: 0, repairs: [] },
    ...change,
  };
}

const n3Down = node("n3", { live: false, downMs: 250_000, etcd: "voter", healing: null });

function status(change: Partial<ClusterStatus> = {}): ClusterStatus {
  return {
    node: "n1",
    time: Date.UTC(2026, 10, 21, 12),
    copies: 3,
    durableCopies: 2,
    quorum: { reached: true, etcd: "supervised", voters: 3, votersLive: 3, leader: "n1" },
    nodes: [node("n1"), node("n2"), node("n3")],
    healing: { underReplicated: 0, missingBytes: 0, timeToZeroMs: null },
    ...change,
  };
}

test("all is well: one word, an aligned table, and what there is to know", () => {
  expect(statusText(status())).toEqual([
    "healthy",
    "",
    "NODE  ADDRESS        ZONE  STATE  ETCD    DISK FREE              LACKS  VERSION  STORE",
    "n1    10.0.0.1:5080  -     live   leader  80.0 GiB of 100.0 GiB  0      0.1.0    store-n1",
    "n2    10.0.0.2:5080  -     live   voter   80.0 GiB of 100.0 GiB  0      0.1.0    store-n2",
    "n3    10.0.0.3:5080  -     live   voter   80.0 GiB of 100.0 GiB  0      0.1.0    store-n3",
    "",
    "metadata  etcd, 3 of 3 voters answer, n1 leads",
    "copies    3, of which 2 are on disk before a push is answered",
    "lacking   nothing: every blob has its copies",
    "seen by   n1, 2026-11-21T12:00:00.000Z",
  ]);
});

test("a node that is down, and what is copied because of it", () => {
  const repairs = [
    { digest: "sha256:abc", from: "n1", doneBytes: 512 * 2 ** 20, totalBytes: GIB },
    { digest: "sha256:de", from: "n1", doneBytes: 0, totalBytes: 100 },
  ];
  const busy = { missingBlobs: 12, missingBytes: 3 * GIB, bytesPerSecond: 1e7, repairs };
  const text = statusText(
    status({
      nodes: [node("n1"), node("n2", { healing: busy, zone: "b" }), n3Down],
      quorum: { reached: true, etcd: "supervised", voters: 3, votersLive: 2, leader: "n1" },
      healing: { underReplicated: 12, missingBytes: 3 * GIB, timeToZeroMs: 190_000 },
    }),
  );
  expect(text.slice(0, 2)).toEqual([
    "n3 is down for 4 minutes; start it, or, where it is gone for good, `holdfast node remove n3`",
    "12 blobs with fewer copies than there should be; they are being copied, about 3 minutes to go",
  ]);
  expect(text.filter((line) => /^n[23] {4}/.test(line))).toEqual([
    "n2    10.0.0.2:5080  b     live                voter   80.0 GiB of 100.0 GiB  12     0.1.0    store-n2",
    "n3    10.0.0.3:5080  -     down for 4 minutes  voter   80.0 GiB of 100.0 GiB  ?      0.1.0    store-n3",
  ]);
  expect(text.slice(-6)).toEqual([
    "lacking   12 blobs, 3.0 GiB, about 3 minutes to go",
    "seen by   n1, 2026-11-21T12:00:00.000Z",
    "",
    "being copied:",
    "  n1 → n2  sha256:abc  512.0 MiB of 1.0 GiB",
    "  n1 → n2  sha256:de   0 bytes of 100 bytes",
  ]);
});

describe("the first line says what is worst", () => {
  const away = (name: string) =>
    node(name, { live: false, downMs: null, etcd: "voter", healing: null });
  const lost = { reached: false, voters: 3, votersLive: 1, leader: null } as const;
  const unknown = { underReplicated: null, missingBytes: null, timeToZeroMs: null };
  test.each<[string, Partial<ClusterStatus>, string]>([
    [
      "no majority",
      {
        nodes: [node("n1"), away("n2"), away("n3")],
        quorum: { ...lost, etcd: "supervised" },
        healing: unknown,
      },
      "no majority (1 of 3 voters answer): pulls go on, pushes are refused; start n2, n3",
    ],
    [
      "no majority, but nobody known to be down",
      { quorum: { ...lost, etcd: "supervised" } },
      "no majority (1 of 3 voters answer): pulls go on, pushes are refused; see whether the nodes reach each other",
    ],
    [
      "an etcd of their own",
      { quorum: { ...lost, etcd: "external", voters: null, votersLive: null } },
      "no majority of etcd answers: pulls go on, pushes are refused; look at the etcd that cluster.etcd.endpoints names",
    ],
    [
      "too few stores",
      { nodes: [node("n1"), away("n2"), away("n3")] },
      "pushes are refused: each needs 2 durable copies, but only 1 node can take one; start the others",
    ],
    [
      "never started",
      { nodes: [node("n1"), node("n2"), node("n3", { live: false, downMs: null, store: null })] },
      "n3 has not started yet; start it",
    ],
    [
      "one that lives and cannot be asked",
      { obstacles: ["n3: the node at 10.0.0.3:5080 refuses this node, n1: its clock is wrong"] },
      "n1 gets no answer from n3: the node at 10.0.0.3:5080 refuses this node, n1: its clock is wrong",
    ],
    [
      "a full disk",
      { nodes: [node("n1", { disk: { free: GIB, total: 100 * GIB } }), node("n2"), node("n3")] },
      "the disk of n1 is nearly full (1.0 GiB of 100.0 GiB free); make room there, or add a node",
    ],
    [
      "not looked through",
      { healing: unknown },
      "it is not known yet whether every blob has its copies; wait until all is looked through",
    ],
    [
      "one blob",
      { healing: { underReplicated: 1, missingBytes: 5, timeToZeroMs: null } },
      "1 blob with fewer copies than there should be; nothing is being copied at present",
    ],
  ])("%s", (_, change, line) => {
    expect(problemsOf(status(change))[0]).toBe(line);
    expect(statusText(status(change))[0]).toBe(line);
  });

  test.each<[string, readonly NodeStatus[], string]>([
    [
      "draining",
      [node("n1"), node("n2"), node("n3", { draining: true, stillNeeded: 7 })],
      "healthy; n3 is draining, 7 blobs to go",
    ],
    [
      "drained",
      [node("n1"), node("n2"), node("n3", { draining: true, stillNeeded: 0 })],
      "healthy; n3 holds nothing that is still needed: `holdfast node remove n3`",
    ],
    [
      "few nodes",
      [node("n1"), node("n2")],
      "healthy; with 2 nodes there can be no 3 copies of a blob",
    ],
    [
      "an update under way",
      [node("n1"), node("n2", { version: "0.2.0" }), node("n3")],
      "healthy; several versions run (0.1.0, 0.2.0); finish the update",
    ],
  ])("%s is no fault", (_, nodes, line) => {
    expect(problemsOf(status({ nodes }))).toEqual([]);
    expect(statusText(status({ nodes }))[0]).toBe(line);
  });
});

describe("asking a server", () => {
  const home = mkdtempSync(join(tmpdir(), "holdfast-status-"));
  const main = join(import.meta.dir, "../main.ts");
  /** What the server is to say; and what it was asked. */
  let answer = status();
  const asked: string[] = [];
  const serve = (name: string, fetch: (request: Request) => Response | Promise<Response>) => {
    mkdirSync(join(home, name));
    return Bun.serve({ unix: join(home, name, "admin.sock"), fetch });
  };
  const servers: Bun.Server<undefined>[] = [];
  beforeAll(() => {
    servers.push(
      serve("cluster", async (request) => {
        const { pathname } = new URL(request.url);
        if (pathname === "/cluster/status") return Response.json(answer);
        asked.push(`${request.method} ${pathname} ${await request.text()}`);
        return pathname.endsWith("/n2/remove")
          ? Response.json({ error: "n2 is alive; stop it first" }, { status: 409 })
          : Response.json({ message: "n2 takes no new copies" });
      }),
      serve("solo", () => Response.json({ error: "this server is no node" }, { status: 409 })),
      serve("broken", () => new Response("oops", { status: 500 })),
    );
  });
  afterAll(async () => {
    await Promise.all(servers.map((server) => server.stop(true)));
    rmSync(home, { recursive: true, force: true });
  });

  async function run(...args: readonly string[]) {
    const child = Bun.spawn([process.execPath, main, ...args], {
      cwd: home,
      env: {},
      stdout: "pipe",
      stderr: "pipe",
    });
    const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
    return { code: await child.exited, stdout, stderr };
  }

  test("status prints words, or JSON; the exit code says whether all is well", async () => {
    answer = status();
    const [words, json] = await Promise.all([
      run("status", "--data", "cluster"),
      run("status", "--data", "cluster", "--json"),
    ]);
    expect(words).toEqual({ code: 0, stdout: `${statusText(answer).join("\n")}\n`, stderr: "" });
    expect({ ...json, stdout: JSON.parse(json.stdout) as unknown }).toEqual({
      code: 0,
      stdout: answer,
      stderr: "",
    });
    answer = status({ nodes: [node("n1"), node("n2"), n3Down] });
    expect((await run("status", "--data", "cluster")).code).toBe(1);
  });

  test("node lists, asks for what is wanted, and passes a refusal on", async () => {
    answer = status();
    const list = await run("node", "list", "--data", "cluster");
    expect(list).toMatchObject({ code: 0, stdout: expect.stringMatching(/^NODE .*\nn1 /) });
    expect(await run("node", "drain", "n2", "--data", "cluster")).toEqual({
      code: 0,
      stdout: "n2 takes no new copies.\n",
      stderr: "",
    });
    expect(await run("node", "remove", "n2", "--force", "--data", "cluster")).toEqual({
      code: 1,
      stdout: "",
      stderr: "holdfast: n2 is alive; stop it first\n",
    });
    expect(await run("node", "drain", "n9", "--data", "cluster")).toEqual({
      code: 1,
      stdout: "",
      stderr: 'holdfast: there is no node "n9"; the cluster has n1, n2, n3\n',
    });
    expect(asked).toEqual([
      'POST /cluster/nodes/n2/drain {"force":false}',
      'POST /cluster/nodes/n2/remove {"force":true}',
    ]);
  });

  test("who does not answer is named, with the remedy", async () => {
    mkdirSync(join(home, "stale"));
    writeFileSync(join(home, "stale", "admin.sock"), "");
    const [none, stale, solo, broken] = await Promise.all(
      ["none", "stale", "solo", "broken"].map((data) => run("status", "--data", data)),
    );
    const start =
      "start it with `holdfast serve`, or see in its log what it waits for, or name the directory of another with --data";
    expect([none?.stderr, stale?.stderr, solo?.stderr, broken?.stderr]).toEqual([
      `holdfast: no server answers on the data directory ${home}/none: ${start}\n`,
      `holdfast: no server answers on the data directory ${home}/stale: ${start}\n`,
      "holdfast: this server is no node\n",
      "holdfast: the server answered with status 500; see its log\n",
    ]);
    expect([none, stale, solo, broken].map((end) => end?.code)).toEqual([1, 1, 1, 1]);
  });
});
