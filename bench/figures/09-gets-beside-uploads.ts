import { rmSync } from "node:fs";
import { join } from "node:path";
import type { Bench, Figure, Reading, Result } from "../bench.ts";
import { alternate, registries } from "../bench.ts";
import { Connection } from "../client.ts";
import type { Source } from "../payload.ts";
import { createSource, randomBlob, renewSource } from "../payload.ts";
import { expectStatus, pushBlob } from "../registry.ts";
import type { Server } from "../servers.ts";
import { percentile } from "../statistics.ts";
import { target } from "../targets.ts";
import { pushByPatch } from "../uploads.ts";

const uploaders = 8;
const readers = 4;
const repository = "bench/beside";
const small = randomBlob(512);

/** Each reader asks, waits for the answer, and rests for 5 ms. */
const read = async (server: Server, latencies: number[], done: () => boolean): Promise<void> => {
  const connection = await Connection.open(server.port);
  const path = `/v2/${repository}/blobs/${small.digest}`;
  while (!done()) {
    const began = performance.now();
    await expectStatus(connection, { method: "GET", path }, 200);
    latencies.push((performance.now() - began) / 1000);
    await Bun.sleep(5);
  }
  connection.close();
};

const once = async (server: Server, sources: readonly Source[]): Promise<Reading> => {
  const connection = await Connection.open(server.port);
  await pushBlob(connection, repository, small);
  connection.close();
  const latencies: number[] = [];
  let uploading = uploaders;
  const queue = sources.values();
  const upload = async (): Promise<void> => {
    try {
      const connection = await Connection.open(server.port);
      for (const source of queue) await pushByPatch(server, connection, repository, source);
      connection.close();
    } finally {
      uploading--;
    }
  };
  await Promise.all([
    ...Array.from({ length: uploaders }, upload),
    ...Array.from({ length: readers }, () => read(server, latencies, () => uploading < uploaders)),
  ]);
  const p99 = percentile(latencies, 0.99);
  const work = sources.reduce((sum, { size }) => sum + size, 0) / 1e9;
  return { value: p99 * 1000, work, p50: percentile(latencies, 0.5), p99 };
};

const run = async (bench: Bench): Promise<Result> => {
  const size = (bench.quick ? 64 : 128) * 2 ** 20;
  bench.progress("making files to upload");
  let sources: Source[] = [];
  for (let n = 0; n < uploaders * 2; n++)
    sources.push(await createSource(join(bench.sources, `beside-${n}`), size));
  const line = await alternate(bench, {
    figure: 9,
    name: `512-byte blob GET beside ${uploaders} uploads at full speed: p99`,
    unit: "ms",
    work: "GB",
    servers: registries(bench),
    prepare: async () => {
      sources = await Promise.all(sources.map(renewSource));
    },
    once: (server) => once(server, sources),
  });
  for (const source of sources) rmSync(source.path);
  const ours = line.servers.holdfast?.value;
  return { lines: [line], targets: target(9, line.name, ours, { atMost: 30 }, "ms") };
};

export const getsBesideUploads: Figure = { id: 9, title: "GETs beside uploads", run };
