import type { Bench, Figure, Reading, Result } from "../bench.ts";
import { alternate, registries } from "../bench.ts";
import { Connection } from "../client.ts";
import { fillLayer, fillTags } from "../fill.ts";
import { imageManifest } from "../payload.ts";
import type { Manifest } from "../registry.ts";
import { pushManifest } from "../registry.ts";
import type { Server } from "../servers.ts";
import { percentile } from "../statistics.ts";
import { ratio, target } from "../targets.ts";

const clients = 8;

/** New manifests under new tags, so that the repository grows by as many tags for every server. */
const putAll = async (
  server: Server,
  repository: string,
  manifests: readonly Manifest[],
  prefix: string,
): Promise<Reading> => {
  const connections = await Promise.all(
    Array.from({ length: clients }, () => Connection.open(server.port)),
  );
  const latencies: number[] = [];
  const queue = manifests.entries();
  const began = performance.now();
  await Promise.all(
    connections.map(async (connection) => {
      for (const [n, manifest] of queue) {
        const started = performance.now();
        await pushManifest(connection, repository, `${prefix}-${n}`, manifest);
        latencies.push((performance.now() - started) / 1000);
      }
    }),
  );
  const seconds = (performance.now() - began) / 1000;
  for (const connection of connections) connection.close();
  return {
    value: manifests.length / seconds,
    work: manifests.length,
    p50: percentile(latencies, 0.5),
    p99: percentile(latencies, 0.99),
  };
};

const run = async (bench: Bench): Promise<Result> => {
  const puts = bench.quick ? 500 : 2000;
  const at = (tags: number, repository: (round: number) => string, where = "") => {
    let manifests: readonly Manifest[] = [];
    return alternate(bench, {
      figure: 6,
      name: `manifest PUT, ${clients} clients, repository of ${tags} tags${where}`,
      unit: "req/s",
      work: "request",
      servers: registries(bench),
      prepare: async (round) => {
        for (const server of registries(bench))
          await fillTags(bench, server, repository(round), tags);
        const note = (n: number): string => `put ${tags}${where} ${round} ${n}`;
        manifests = Array.from({ length: puts }, (_, n) => imageManifest([fillLayer], note(n)));
      },
      once: (server, round) => putAll(server, repository(round), manifests, `r${round}`),
    });
  };
  const few = await at(100, (round) => `bench/few-${round}`);
  const many = await at(bench.many, () => "bench/many");
  // Tells what the repository costs from what the size of the whole store does.
  const beside = await at(100, (round) => `bench/beside-${round}`, " beside it");
  const [ourFew, ourMany] = [few.servers.holdfast?.value, many.servers.holdfast?.value];
  const kept = ourFew === undefined || ourMany === undefined ? undefined : ourMany / ourFew;
  return {
    lines: [few, many, beside],
    targets: [
      ...target(6, many.name, ratio(many), { atLeast: 5 }),
      ...target(6, `${many.name}: of our rate at 100`, kept, { atLeast: 0.9 }),
    ],
  };
};

export const manifestPut: Figure = { id: 6, title: "manifest PUT to one repository", run };
