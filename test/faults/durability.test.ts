/** Before every 201: the bytes, the name of their file and the metadata are fsynced. Seen in the system calls. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { until } from "../support/processes.ts";
import { bytesOf, imageManifest, pushBlob, pushManifest, sha256 } from "../support/push.ts";
import { startServer, type TestServer } from "../support/server.ts";

const hasStrace = Bun.which("strace") !== null;
const suite = hasStrace || process.env["CI"] ? describe : describe.skip;

suite("durability (apt-get install strace)", () => {
  let server: TestServer;
  const dir = mkdtempSync(join(tmpdir(), "holdfast-strace-"));

  beforeAll(async () => {
    server = await startServer({ workers: 1 });
  });
  afterAll(async () => {
    await server.stop();
    rmSync(dir, { recursive: true });
  });

  /** System calls of all processes of the server, in order, while `run` runs. */
  async function traced(name: string, run: () => Promise<unknown>): Promise<string[]> {
    const log = join(dir, name);
    const pids = [server.pid, ...server.workers()].flatMap((pid) => ["-p", `${pid}`]);
    const calls =
      "openat,fsync,fdatasync,rename,renameat,renameat2,linkat,pwrite64,write,writev,sendto,sendmsg";
    const strace = Bun.spawn(
      ["strace", "-f", "-y", "-ttt", "-s", "64", "-e", `trace=${calls}`, "-o", log, ...pids],
      { stdout: "ignore", stderr: "pipe" },
    );
    const said = strace.stderr.getReader();
    await said.read();
    await Bun.sleep(300);
    await run();
    await until(
      () => readFileSync(log, "utf8").includes("HTTP/1.1 201"),
      5000,
      "the trace to show the answer",
    );
    strace.kill("SIGINT");
    await strace.exited;
    return readFileSync(log, "utf8").split("\n");
  }

  /** Asserts that the calls matching these patterns completed in this order, the last one being the answer. */
  function expectOrder(calls: readonly string[], ...patterns: readonly RegExp[]): void {
    let from = 0;
    for (const pattern of patterns) {
      const at = calls.findIndex((call, i) => i >= from && pattern.test(call));
      expect(at, `${pattern} after line ${from} of\n${calls.join("\n")}`).toBeGreaterThanOrEqual(0);
      from = completedAt(calls, at) + 1;
    }
  }

  /** The line in which a call that strace split in two returns. */
  function completedAt(calls: readonly string[], at: number): number {
    const call = calls[at] ?? "";
    if (!call.includes("<unfinished ...>")) return at;
    const [pid = ""] = call.split(" ");
    return calls.findIndex((c, i) => i > at && c.startsWith(pid) && c.includes("resumed>"));
  }

  const synced = (path: string): RegExp => new RegExp(`f(data)?sync\\(\\d+<[^>]*${path}`);
  const named = /(rename(at2?)?|linkat)\(.*\/blobs\/sha256\/[0-9a-f]{2}\//;
  const answered = /(write|writev|sendto|sendmsg)\(.*HTTP\/1\.1 201/;
  const blobDirectory = "/blobs/sha256/[0-9a-f]{2}>";
  const newPack = /openat\(.*\/packs\/[a-z2-7]{16}", .*O_CREAT\|O_EXCL/;
  const record = /pwrite64\(\d+<[^>]*\/packs\/[a-z2-7]{16}>, "hfblob01/;
  const pack = "/packs/[a-z2-7]{16}>";
  const log = "holdfast\\.db-wal";

  test("a large blob: file, name, directory, metadata, then 201", async () => {
    const size = 3 * 1024 * 1024;
    const calls = await traced("large", async () =>
      pushBlob(server.url, "durable/blob", bytesOf(size, size)),
    );
    expectOrder(calls, named, synced(blobDirectory), synced(log), answered);
    expectOrder(calls, synced("/uploads/"), synced(log), answered);
  });

  test("the first small blob: new pack and its name, record, metadata, then 201", async () => {
    const calls = await traced("small", async () =>
      pushBlob(server.url, "durable/blob", bytesOf(1, 1000)),
    );
    expectOrder(calls, newPack, synced("/packs>"), record, synced(pack), synced(log), answered);
  });

  test("a manifest: record, metadata, then 201", async () => {
    const config = bytesOf(1, 100);
    await pushBlob(server.url, "durable/image", config);
    const manifest = imageManifest({ config: { digest: sha256(config), size: 100 }, layers: [] });
    const calls = await traced("manifest", async () =>
      pushManifest(server.url, "durable/image", "v1", manifest),
    );
    expectOrder(calls, record, synced(pack), synced(log), answered);
  });

  test("a push that is refused costs no fsync", async () => {
    const calls = await traced("refused", async () => {
      const wrong = `sha256:${"0".repeat(64)}`;
      const path = `/v2/durable/refused/blobs/uploads/?digest=${wrong}`;
      const answer = await fetch(`${server.url}${path}`, { method: "POST", body: "other bytes" });
      expect(answer.status).toBe(400);
      await answer.text();
      // The end of the trace: one push that is accepted.
      await pushBlob(server.url, "durable/refused", bytesOf(7, 10));
    });
    const refusal = calls.findIndex((call) => /HTTP\/1\.1 400/.test(call));
    expect(refusal).toBeGreaterThanOrEqual(0);
    expect(calls.slice(0, refusal).filter((call) => /f(data)?sync\(/.test(call))).toEqual([]);
  });
});
