import { join } from "node:path";
import type { Bench, Figure, Line } from "../bench.ts";
import { alternate, registries } from "../bench.ts";
import { Connection } from "../client.ts";
import { randomBlob } from "../payload.ts";
import { expectStatus, pushBlob } from "../registry.ts";
import { ratio, target } from "../targets.ts";
import { wrk } from "../wrk.ts";

const repository = "bench/small";

export const smallBlobGets = async (bench: Bench): Promise<Line> => {
  const blob = randomBlob(512);
  const path = `/v2/${repository}/blobs/${blob.digest}`;
  for (const server of registries(bench)) {
    const connection = await Connection.open(server.port);
    await pushBlob(connection, repository, blob);
    const reply = await expectStatus(connection, { method: "GET", path }, 200);
    if (!reply.body.equals(blob.bytes)) throw new Error(`${server.name}: not our blob`);
    connection.close();
  }
  const { nginx } = bench;
  if (nginx !== undefined) await Bun.write(join(nginx.data, path), blob.bytes);
  return alternate(bench, {
    figure: 2,
    name: "512-byte blob GET, 16 connections",
    unit: "req/s",
    work: "request",
    servers: nginx === undefined ? registries(bench) : [...registries(bench), nginx],
    once: (server) => wrk(server, { path, connections: 16, seconds: bench.seconds }),
  });
};

export const smallBlobGet: Figure = {
  id: 2,
  title: "512-byte blob GET",
  run: async (bench) => {
    const line = await smallBlobGets(bench);
    return { lines: [line], targets: target(2, line.name, ratio(line), { atLeast: 24 }) };
  },
};
