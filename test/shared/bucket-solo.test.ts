/** One node on a bucket, without a database and without a disk that matters. */
import { expect, test } from "bun:test";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describeWith } from "../clients/support/tools.ts";
import { runHoldfast } from "../support/failed-start.ts";
import { freePort, signal, until } from "../support/processes.ts";
import { bytesOf } from "../support/push.ts";
import { startServer, type TestServer } from "../support/server.ts";
import { newBucketPlace } from "../support/shared-place.ts";
import {
  digestAt,
  expectStatus,
  pushBlob,
  pushImage,
  pushManifest,
  request,
} from "./support/api.ts";

/** A stranger's bucket is taken over twenty seconds after its last sign of life. */
const TAKE_OVER_MS = 20_000;
const PATIENCE_MS = 120_000;

async function withData<T>(work: (data: string) => Promise<T>): Promise<T> {
  const home = mkdtempSync(join(tmpdir(), "holdfast-solo-"));
  try {
    return await work(join(home, "data"));
  } finally {
    rmSync(home, { recursive: true, force: true });
  }
}

describeWith(["versitygw"], "solo on a bucket:", () => {
  test("what was acknowledged until a kill -9 is there after the disk is wiped as well", async () => {
    const { env } = await newBucketPlace();
    await withData(async (data) => {
      const acknowledged: { path: string; digest: string }[] = [];
      for (let life = 1; life <= 3; life++) {
        const wipe = life === 2;
        const node = await startServer({ workers: 2, env, data, patience: 60_000 });
        for (const { path, digest } of acknowledged)
          expect(await digestAt(node, path)).toBe(digest);
        let running = true;
        const pushing = Array.from({ length: 4 }, async (_, lane) => {
          for (let n = 0; running; n++) {
            const size = n % 8 === 7 ? 6_000_000 : 100 + 30_000 * (n % 5);
            const tag = `t${life}-${lane}-${n}`;
            try {
              const image = await pushImage(
                node,
                "solo",
                tag,
                bytesOf(life * 1000 + lane * 100 + n, size),
              );
              acknowledged.push(
                { path: `/v2/solo/manifests/${tag}`, digest: image.digest },
                { path: `/v2/solo/blobs/${image.layer}`, digest: image.layer },
              );
            } catch (error) {
              if (running) throw error;
            }
          }
        });
        await Bun.sleep(2000);
        running = false;
        await node.kill();
        await Promise.all(pushing);
        await node.stop();
        if (wipe) rmSync(data, { recursive: true });
      }
      expect(acknowledged.length).toBeGreaterThan(40);
      // A restart on the same disk, and one on an empty one.
      for (const isWiped of [false, true]) {
        if (isWiped) rmSync(data, { recursive: true });
        await using node = await startServer({ workers: 2, env, data, patience: 60_000 });
        expect(node.logs().includes("rebuilding the metadata from the journal")).toBe(isWiped);
        for (const { path, digest } of acknowledged)
          expect(await digestAt(node, path)).toBe(digest);
      }
      // After an orderly end nobody has to wait.
      rmSync(data, { recursive: true });
      const began = performance.now();
      await using node = await startServer({ workers: 2, env, data, patience: 60_000 });
      expect(performance.now() - began).toBeLessThan(TAKE_OVER_MS / 2);
      expect(await digestAt(node, acknowledged.at(-1)?.path ?? "")).toBe(
        acknowledged.at(-1)?.digest ?? "",
      );
    });
  }, 300_000);

  test(
    "a second process is refused, and the first goes on",
    async () => {
      const { env } = await newBucketPlace();
      await using node = await startServer({ workers: 1, env });
      await withData(async (data) => {
        const args = ["serve", "--listen", `127.0.0.1:${freePort()}`, "--data", data];
        const { code, stderr } = await runHoldfast(args, { env });
        expect({ code, lines: stderr.trimEnd().split("\n").length }).toEqual({ code: 1, lines: 1 });
        expect(stderr).toMatch(
          /^holdfast: process \d+ on \S+ already serves the bucket "images", prefix "\S+", at \S+: stop it, choose another bucket or prefix, or add a database/,
        );
        expect(stderr).toContain(`process ${node.pid} `);
        expect(existsSync(join(data, "metadata"))).toBe(false);
      });
      await pushBlob(node, "a", bytesOf(1, 100));
    },
    PATIENCE_MS,
  );

  test(
    "an owner that stood still and was taken over answers for nothing, and ends",
    async () => {
      const { env } = await newBucketPlace();
      const paused = await startServer({ workers: 1, env });
      try {
        const before = await pushImage(paused, "a", "v1", bytesOf(1, 100));
        const all = [paused.pid, ...paused.workers()];
        for (const pid of all) signal(pid, "SIGSTOP");
        const began = performance.now();
        await using next = await startServer({ workers: 1, env, patience: 60_000 });
        expect(performance.now() - began).toBeGreaterThan(TAKE_OVER_MS - 1000);
        expect(await digestAt(next, "/v2/a/manifests/v1")).toBe(before.digest);
        const after = await pushImage(next, "a", "v1", bytesOf(2, 100));

        for (const pid of all) signal(pid, "SIGCONT");
        const answers: number[] = [];
        let ended = false;
        const exited = paused.exited.finally(() => (ended = true));
        while (!ended) answers.push(await pushStatus(paused, before.text));
        expect(answers.filter((status) => status !== 503 && status !== 0)).toEqual([]);
        expect(await exited).toBe(1);
        expect(paused.logs()).toMatch(/process \d+ on \S+ has taken over the bucket/);
        await until(() => paused.workers().length === 0, 5000, "the workers to end");
        // The new owner's truth is untouched.
        expect(await digestAt(next, "/v2/a/manifests/v1")).toBe(after.digest);
        await pushManifest(next, "a", "v2", before.text);
      } finally {
        await paused.kill();
        await paused.stop();
      }
    },
    PATIENCE_MS,
  );
});

/** Status of a push of a tag; 0 where the connection fails. */
async function pushStatus(node: TestServer, manifest: string): Promise<number> {
  try {
    const answer = await request(node, "/v2/a/manifests/v1", {
      method: "PUT",
      body: manifest,
      headers: { "Content-Type": "application/vnd.oci.image.manifest.v1+json" },
    });
    if (answer.status === 503) await expectStatus(answer, 503);
    return answer.status;
  } catch {
    return 0;
  }
}
