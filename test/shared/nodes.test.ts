/** Several nodes are one registry: whatever one acknowledged, all of them go on from there. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { describeWith } from "../clients/support/tools.ts";
import { etcdObstacle } from "../support/etcd.ts";
import { startNodes, type Nodes } from "../support/nodes.ts";
import { postgresObstacle } from "../support/postgres.ts";
import { alive, signal, until } from "../support/processes.ts";
import { bytesOf, sha256 } from "../support/push.ts";
import type { TestServer } from "../support/server.ts";
import { newPlace, type DatabaseKind } from "../support/shared-place.ts";
import {
  digestAt,
  expectStatus,
  locationOf,
  openUpload,
  pushBlob,
  pushImage,
  pushManifest,
  request,
  withDigest,
} from "./support/api.ts";

/** A process that was killed is taken for dead after ten seconds without a beat. */
const DEAD_MS = 10_000;
const PATIENCE_MS = 60_000;

const OBSTACLES: Record<DatabaseKind, string | undefined> = {
  postgres: postgresObstacle,
  etcd: etcdObstacle,
};

/** Whether another request writes to an upload; asked with a chunk that belongs nowhere, after a moment to begin. */
async function isHeld(node: TestServer, path: string): Promise<boolean> {
  await Bun.sleep(300);
  const answer = await request(node, path, {
    method: "PATCH",
    body: "x",
    headers: { "Content-Range": "999999999-999999999" },
  });
  return (await answer.text()).includes("another request is writing");
}

describeWith(["versitygw"], "three nodes", () => {
  describe.each(["postgres", "etcd"] as const)("over %s", (kind) => {
    if (OBSTACLES[kind] !== undefined && process.env["CI"] === undefined) {
      test.skip(OBSTACLES[kind], () => {});
      return;
    }
    const held = new AsyncDisposableStack();
    let nodes: Nodes;
    /** The nodes that were started first are A, B and C; others take the place of those that end. */
    const node = (at: number): TestServer => {
      const found = nodes.live[at];
      if (found === undefined) throw new Error(`there is no node ${at}`);
      return found;
    };

    beforeAll(async () => {
      const place = held.use(await newPlace(kind));
      // All at once, on an empty database and an empty bucket.
      nodes = held.use(await startNodes({ env: place.env, count: 3 }));
    }, PATIENCE_MS);
    afterAll(async () => held.disposeAsync(), PATIENCE_MS);

    test("that started at once on nothing are one installation", async () => {
      const image = await pushImage(node(0), "first", "v1", bytesOf(1, 1000));
      for (const other of nodes.live) {
        expect(await digestAt(other, "/v2/first/manifests/v1")).toBe(image.digest);
        expect(other.logs()).not.toContain('"level":"error"');
      }
    });

    test("an upload is opened at A, goes on at B and is finished at C", async () => {
      for (const size of [100, 300_000, 12_000_000]) {
        const bytes = bytesOf(size, size);
        const half = Math.floor(size / 2);
        const path = await openUpload(node(0), "spread");
        const first = await request(node(1), path, { method: "PATCH", body: bytes.slice(0, half) });
        expect((await expectStatus(first, 202)).headers.get("Range")).toBe(`0-${half - 1}`);
        const status = await expectStatus(await request(node(2), locationOf(first)), 204);
        expect(status.headers.get("Range")).toBe(`0-${half - 1}`);
        const second = await request(node(2), locationOf(first), {
          method: "PATCH",
          body: bytes.slice(half),
          headers: { "Content-Range": `${half}-${size - 1}` },
        });
        await expectStatus(second, 202);
        const digest = sha256(bytes);
        const done = withDigest(locationOf(second), digest);
        await expectStatus(await request(node(0), done, { method: "PUT" }), 201);
        expect(await digestAt(node(1), `/v2/spread/blobs/${digest}`)).toBe(digest);
      }
    });

    test("mount, delete, tags and catalog are seen everywhere at once", async () => {
      const image = await pushImage(node(0), "coherent/a", "v1", bytesOf(2, 70_000));
      const mount = `/v2/coherent/b/blobs/uploads/?mount=${image.layer}&from=coherent/a`;
      await expectStatus(await request(node(1), mount, { method: "POST" }), 201);
      expect(await digestAt(node(2), `/v2/coherent/b/blobs/${image.layer}`)).toBe(image.layer);
      await pushBlob(node(2), "coherent/b", new TextEncoder().encode("{}"));
      await pushManifest(node(0), "coherent/b", "moved", image.text);
      const list = await request(node(1), "/v2/coherent/b/tags/list");
      expect(await list.json()).toEqual({ name: "coherent/b", tags: ["moved"] });
      const catalog = await request(node(2), "/v2/_catalog?last=coherent/");
      const { repositories } = (await catalog.json()) as { repositories: string[] };
      expect(repositories.slice(0, 2)).toEqual(["coherent/a", "coherent/b"]);

      const manifest = `/v2/coherent/a/manifests/${image.digest}`;
      await expectStatus(await request(node(1), manifest, { method: "DELETE" }), 202);
      for (const { url } of nodes.live) {
        await expectStatus(await request({ url }, manifest), 404);
        await expectStatus(await request({ url }, "/v2/coherent/a/manifests/v1"), 404);
      }
      const blob = `/v2/coherent/a/blobs/${image.layer}`;
      await expectStatus(await request(node(2), blob, { method: "DELETE" }), 202);
      for (const { url } of nodes.live) await expectStatus(await request({ url }, blob), 404);
      expect(await digestAt(node(0), `/v2/coherent/b/blobs/${image.layer}`)).toBe(image.layer);
    });

    test("200 pushes at one node are pulled at another the moment they are answered", async () => {
      const missed: string[] = [];
      for (let n = 0; n < 200; n++) {
        const [at, elsewhere] = [node(n % 3), node((n + 1 + (n % 2)) % 3)];
        const image = await pushImage(at, "ryw", "latest", bytesOf(1000 + n, 500));
        for (const path of [
          "manifests/latest",
          `manifests/${image.digest}`,
          `blobs/${image.layer}`,
        ]) {
          const answer = await request(elsewhere, `/v2/ryw/${path}`);
          const digest = sha256(await answer.bytes());
          if (answer.status !== 200 || ![image.digest, image.layer].includes(digest))
            missed.push(`${n} ${path}: ${answer.status}`);
        }
      }
      expect(missed).toEqual([]);
    });

    test("an upload goes on elsewhere after its node was killed between two requests", async () => {
      const bytes = bytesOf(3, 9_000_000);
      const path = await openUpload(node(0), "orphan");
      const first = await request(node(0), path, {
        method: "PATCH",
        body: bytes.slice(0, 6_000_000),
      });
      await expectStatus(first, 202);
      await nodes.kill(node(0));
      await nodes.add();
      const status = await expectStatus(await request(node(0), path), 204);
      expect(status.headers.get("Range")).toBe("0-5999999");
      const second = await request(node(1), path, {
        method: "PATCH",
        body: bytes.slice(6_000_000),
        headers: { "Content-Range": "6000000-8999999" },
      });
      await expectStatus(second, 202);
      const digest = sha256(bytes);
      await expectStatus(await request(node(2), withDigest(path, digest), { method: "PUT" }), 201);
      expect(await digestAt(node(1), `/v2/orphan/blobs/${digest}`)).toBe(digest);
    });

    test("what a node held when it was killed is free ten seconds later, and goes on", async () => {
      const bytes = bytesOf(4, 3_000_000);
      const path = await openUpload(node(0), "held");
      const first = await request(node(0), path, {
        method: "PATCH",
        body: bytes.slice(0, 1_000_000),
      });
      await expectStatus(first, 202);
      // In the middle of the second chunk.
      const stream = new TransformStream<Uint8Array, Uint8Array>();
      const writer = stream.writable.getWriter();
      const cut = request(node(0), path, { method: "PATCH", body: stream.readable }).then(
        () => "answered",
        () => "cut",
      );
      await writer.write(bytes.slice(1_000_000, 1_500_000));
      await until(() => isHeld(node(1), path), 5000, "the upload to be held");
      await nodes.kill(node(0));
      const killed = performance.now();
      expect(await cut).toBe("cut");
      await writer.abort().catch(() => {});
      await nodes.add();

      const rest = async (): Promise<boolean> => {
        const answer = await request(node(1), path, {
          method: "PATCH",
          body: bytes.slice(1_000_000),
          headers: { "Content-Range": "1000000-2999999" },
        });
        await expectStatus(answer, 202, 416);
        return answer.status === 202;
      };
      await until(rest, DEAD_MS + 8000, "the dead node's upload to be free");
      expect(performance.now() - killed).toBeGreaterThan(DEAD_MS / 2);
      const digest = sha256(bytes);
      await expectStatus(await request(node(2), withDigest(path, digest), { method: "PUT" }), 201);
      expect(await digestAt(node(0), `/v2/held/blobs/${digest}`)).toBe(digest);
    });

    test("a killed worker is replaced, and what it held is free at once", async () => {
      const bytes = bytesOf(5, 1_000_000);
      const path = await openUpload(node(0), "worker");
      const stream = new TransformStream<Uint8Array, Uint8Array>();
      const writer = stream.writable.getWriter();
      const cut = request(node(0), path, { method: "PATCH", body: stream.readable }).then(
        () => "answered",
        () => "cut",
      );
      await writer.write(bytes.slice(0, 100_000));
      await until(() => isHeld(node(1), path), 5000, "the upload to be held");
      const before = node(0).workers();
      for (const pid of before) signal(pid, "SIGKILL");
      const killed = performance.now();
      expect(await cut).toBe("cut");
      await writer.abort().catch(() => {});
      // Nothing had been acknowledged: the session begins anew.
      const again = async (): Promise<boolean> => {
        const answer = await request(node(1), path, {
          method: "PATCH",
          body: bytes,
          headers: { "Content-Range": "0-999999" },
        });
        await expectStatus(answer, 202, 416);
        return answer.status === 202;
      };
      await until(again, DEAD_MS / 2, "the dead worker's upload to be free");
      expect(performance.now() - killed).toBeLessThan(DEAD_MS / 2);
      await until(() => node(0).workers().length === 2 && !before.some(alive), 5000, "new workers");
      const digest = sha256(bytes);
      const finish = async (): Promise<boolean> => {
        const answer = await request(node(0), withDigest(path, digest), { method: "PUT" }).catch(
          () => undefined,
        );
        return answer?.status === 201;
      };
      await until(finish, 5000, "the new workers to answer");
      expect(await digestAt(node(2), `/v2/worker/blobs/${digest}`)).toBe(digest);
    });
  });
});
