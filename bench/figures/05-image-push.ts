import type { Bench, Figure, Line, Reading } from "../bench.ts";
import { alternate, registries } from "../bench.ts";
import type { Client } from "../client.ts";
import type { Image } from "../payload.ts";
import { config, images } from "../payload.ts";
import { pushBlob, pushManifest } from "../registry.ts";
import type { Server } from "../servers.ts";
import { openClient } from "../servers.ts";
import { percentile } from "../statistics.ts";
import { ratio, target } from "../targets.ts";

/** Pushes all images, each by one of `clients` connections, which have a repository each. */
const pushAll = async (
  server: Server,
  batch: readonly Image[],
  clients: number,
): Promise<Reading> => {
  const connections: [Client, string][] = [];
  for (let n = 0; n < clients; n++) {
    const connection = await openClient(server);
    const repository = `bench/images-${n}`;
    await pushBlob(connection, repository, config);
    connections.push([connection, repository]);
  }
  const latencies: number[] = [];
  const queue = batch.values();
  const began = performance.now();
  await Promise.all(
    connections.map(async ([connection, repository]) => {
      for (const image of queue) {
        const started = performance.now();
        for (const layer of image.layers) await pushBlob(connection, repository, layer);
        await pushManifest(connection, repository, image.tag, image.manifest);
        latencies.push((performance.now() - started) / 1000);
      }
    }),
  );
  const seconds = (performance.now() - began) / 1000;
  for (const [connection] of connections) connection.close();
  return {
    value: batch.length / seconds,
    work: batch.length,
    p50: percentile(latencies, 0.5),
    p99: percentile(latencies, 0.99),
  };
};

const loads = [
  { clients: 1, layers: 1, images: 600 },
  { clients: 8, layers: 1, images: 2000 },
  { clients: 1, layers: 5, images: 200 },
  { clients: 8, layers: 5, images: 600 },
];

/** A line for each load; those of eight clients are the second and the last. */
export const imagePushes = async (bench: Bench): Promise<readonly Line[]> => {
  const lines: Line[] = [];
  let batches = 0;
  for (const load of loads) {
    const count = bench.quick ? load.images / 4 : load.images;
    let batch: readonly Image[] = [];
    const line = await alternate(bench, {
      figure: 5,
      name: `image push, ${load.layers} × 4 KiB layer + manifest, ${load.clients} client${load.clients === 1 ? "" : "s"}`,
      unit: "images/s",
      work: "image",
      servers: registries(bench),
      prepare: async () => {
        batch = images(count, load.layers, `batch-${batches++}`);
      },
      once: (server) => pushAll(server, batch, load.clients),
    });
    lines.push(line);
  }
  return lines;
};

export const imagePush: Figure = {
  id: 5,
  title: "small image pushes",
  run: async (bench) => {
    const lines = await imagePushes(bench);
    const targets = lines
      .filter((_, at) => at % 2 === 1)
      .flatMap((eight) => {
        const tail = ratio(eight, ({ p99 }) => p99);
        return [
          ...target(5, `${eight.name}: rate`, ratio(eight), { atLeast: 4 }),
          ...target(5, `${eight.name}: p99`, tail, { atMost: 0.5 }),
        ];
      });
    return { lines, targets };
  },
};
