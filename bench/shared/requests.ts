import { join } from "node:path";
import type { Bench, Count, Figure, Target } from "../bench.ts";
import { Connection } from "../client.ts";
import type { Image } from "../payload.ts";
import { config, imageManifest, imageType, images, randomBlob } from "../payload.ts";
import { start } from "../processes.ts";
import type { Blob } from "../registry.ts";
import {
  expectStatus,
  locationOf,
  openUpload,
  pushBlob,
  pushManifest,
  withDigest,
} from "../registry.ts";
import type { Server } from "../servers.ts";
import { startDistributionOnS3, startNode } from "./servers.ts";
import type { SharedStores } from "./stores.ts";

/**
 * How many S3 requests an image costs, counted at a proxy. Servers of their own: nothing here is timed, and nothing
 * that is timed goes through the proxy.
 */

const repository = "bench/counted";
/** What follows an answer, such as the removal of what an upload has left, is counted too. */
const settling = 1500;
const mib = 2 ** 20;

type PushBlob = (connection: Connection, repository: string, blob: Blob) => Promise<void>;

/** What docker does: asks for the blob, then POST, PATCH, PUT. */
const pushAsDocker: PushBlob = async (connection, name, { digest, bytes }) => {
  await expectStatus(connection, { method: "HEAD", path: `/v2/${name}/blobs/${digest}` }, 404);
  const path = await openUpload(connection, name);
  const reply = await expectStatus(connection, { method: "PATCH", path, body: bytes }, 202);
  const end = withDigest(locationOf(reply), digest);
  await expectStatus(connection, { method: "PUT", path: end, body: new Uint8Array() }, 201);
};

const pushImage = async (server: Server, image: Image, how: PushBlob): Promise<void> => {
  const connection = await Connection.open(server.port);
  for (const layer of image.layers) await how(connection, repository, layer);
  await pushManifest(connection, repository, image.tag, image.manifest);
  connection.close();
};

/** Manifest by tag, config, layers. */
const pullImage = async (connection: Connection, image: Image): Promise<void> => {
  const get = async (path: string, wanted: Uint8Array): Promise<void> => {
    const headers = { Accept: imageType };
    const call = { method: "GET", path: `/v2/${repository}/${path}`, headers };
    const { body } = await expectStatus(connection, call, 200);
    if (!body.equals(wanted)) throw new Error(`GET ${path} gave other bytes`);
  };
  await get(`manifests/${image.tag}`, image.manifest.bytes);
  for (const { digest, bytes } of [config, ...image.layers]) await get(`blobs/${digest}`, bytes);
};

const largeImage = (tag: string): Image => {
  const layers = [randomBlob(20 * mib)];
  return { tag, layers, manifest: imageManifest(layers, tag) };
};

interface Counted {
  readonly server: Server;
  restarted(): Promise<Server>;
}

const startBoth = async (
  bench: Bench,
  stores: SharedStores,
  port: number,
  endpoint: string,
): Promise<Counted[]> => {
  const where = { database: await stores.createDatabase("counted"), prefix: "counted/", endpoint };
  stores.createBucket("counted");
  const starts = [
    () => startNode({ dir: join(bench.dir, "counted-holdfast"), port }, 2, stores, where),
    () => {
      const place = { dir: join(bench.dir, "counted-distribution"), port: port + 10 };
      return startDistributionOnS3(place, stores, "counted", endpoint);
    },
  ];
  return Promise.all(
    starts.map(async (begin) => {
      let server = await begin();
      return {
        get server() {
          return server;
        },
        restarted: async () => {
          await server.stop();
          server = await begin();
          return server;
        },
      };
    }),
  );
};

/** Requests by operation per piece of work, beside what goes on anyway. */
const counting = async (
  take: () => Promise<Record<string, number>>,
  pieces: number,
  work: () => Promise<void>,
): Promise<Record<string, number>> => {
  await Bun.sleep(settling);
  await take();
  await work();
  await Bun.sleep(settling);
  const counts = Object.entries(await take());
  return Object.fromEntries(counts.map(([name, count]) => [name, count / pieces]));
};

const total = (operations: Readonly<Record<string, number>>): number =>
  Object.values(operations).reduce((sum, count) => sum + count, 0);

const targetsOf = (counts: readonly Count[]): Target[] =>
  counts.flatMap(({ what, server, operations }) => {
    const peer = counts.find((one) => one.what === what && one.server === "distribution");
    if (server !== "holdfast" || peer === undefined) return [];
    const [ours, theirs] = [total(operations), total(peer.operations)];
    const measured = theirs === 0 ? `${ours} to 0` : `${(ours / theirs).toFixed(2)} ×`;
    const ok = ours <= theirs / 2;
    return [{ figure: 10, what: `S3 requests: ${what}`, wanted: "≤ 0.5 ×", measured, ok }];
  });

export const s3Requests = (stores: SharedStores, port: number): Figure => ({
  id: 10,
  title: "S3 requests per image",
  run: async (bench) => {
    const proxy = [process.execPath, join(import.meta.dir, "proxy.ts")];
    start([...proxy, String(port), stores.endpoint], { log: join(bench.dir, "proxy.log") });
    const take = async (): Promise<Record<string, number>> =>
      (await (await fetch(`http://127.0.0.1:${port + 2}`)).json()) as Record<string, number>;
    await Bun.sleep(1000);
    const counted = await startBoth(bench, stores, port + 10, `http://127.0.0.1:${port}`);
    const counts: Count[] = [];
    const pieces = bench.quick ? 3 : 10;

    const count = async (
      what: string,
      { server }: Counted,
      many: number,
      work: () => Promise<void>,
    ): Promise<void> => {
      bench.progress(`counting: ${what}, ${server.name}`);
      const operations = await counting(take, many, work);
      counts.push({ what, server: server.name, operations });
    };
    const pushes = async (what: string, batch: readonly Image[], how: PushBlob): Promise<void> => {
      for (const each of counted)
        await count(`push, ${what}`, each, batch.length, async () => {
          for (const image of batch) await pushImage(each.server, image, how);
        });
    };

    for (const { server } of counted) {
      const connection = await Connection.open(server.port);
      await pushBlob(connection, repository, config);
      connection.close();
    }
    const small = images(pieces, 1, "one-layer");
    const large = [largeImage("large-0"), largeImage("large-1")];
    const five = images(pieces, 5, "five-layers");
    await pushes("1 × 4 KiB layer", small, pushBlob);
    await pushes("5 × 4 KiB layer", five, pushBlob);
    await pushes("1 × 20 MiB layer", large, pushBlob);
    await pushes("1 × 4 KiB layer, as docker", images(pieces, 1, "docker"), pushAsDocker);
    await pushes("1 × 20 MiB layer, as docker", [largeImage("docker-large")], pushAsDocker);
    const crowd = images(pieces * 8, 1, "crowd");
    for (const each of counted)
      await count("push, 1 × 4 KiB layer, 8 clients at once", each, crowd.length, async () => {
        const queue = crowd.values();
        const client = async (): Promise<void> => {
          for (const image of queue) await pushImage(each.server, image, pushBlob);
        };
        await Promise.all(Array.from({ length: 8 }, client));
      });

    const pulls = [
      ["1 × 4 KiB layer", small[0]],
      ["5 × 4 KiB layer", five[0]],
      ["1 × 20 MiB layer", large[0]],
    ] as const;
    for (const [what, image] of pulls)
      for (const each of counted) {
        if (image === undefined) continue;
        const connection = await Connection.open((await each.restarted()).port);
        const pull = async (): Promise<void> => pullImage(connection, image);
        await count(`pull by tag, ${what}, cold`, each, 1, pull);
        await count(`pull by tag, ${what}, warm`, each, 1, pull);
        connection.close();
      }
    for (const { server } of counted) await server.stop();
    return { lines: [], targets: targetsOf(counts), counts };
  },
});
