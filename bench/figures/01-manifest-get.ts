import type { Bench, Figure, Line } from "../bench.ts";
import { alternate, registries } from "../bench.ts";
import { Connection } from "../client.ts";
import { config, imageManifest, imageType, randomBlob } from "../payload.ts";
import { expectStatus, pushBlob, pushManifest } from "../registry.ts";
import { ratio, target } from "../targets.ts";
import { wrk } from "../wrk.ts";

const repository = "bench/manifests";

/** By tag, by digest. */
export const manifestGets = async (bench: Bench): Promise<readonly [Line, Line]> => {
  const layer = randomBlob(4096);
  const manifest = imageManifest([layer], "manifest GET");
  for (const server of registries(bench)) {
    const connection = await Connection.open(server.port);
    for (const blob of [config, layer]) await pushBlob(connection, repository, blob);
    await pushManifest(connection, repository, "latest", manifest);
    for (const reference of ["latest", manifest.digest]) {
      const path = `/v2/${repository}/manifests/${reference}`;
      const headers = { Accept: imageType };
      const reply = await expectStatus(connection, { method: "GET", path, headers }, 200);
      if (!reply.body.equals(manifest.bytes)) throw new Error(`${server.name}: not our manifest`);
    }
    connection.close();
  }
  const get = (name: string, reference: string) =>
    alternate(bench, {
      figure: 1,
      name: `manifest GET by ${name}, 16 connections`,
      unit: "req/s",
      work: "request",
      servers: registries(bench),
      once: (server) =>
        wrk(server, {
          path: `/v2/${repository}/manifests/${reference}`,
          accept: imageType,
          connections: 16,
          seconds: bench.seconds,
        }),
    });
  return [await get("tag", "latest"), await get("digest", manifest.digest)];
};

export const manifestGet: Figure = {
  id: 1,
  title: "manifest GET",
  run: async (bench) => {
    const lines = await manifestGets(bench);
    const [byTag] = lines;
    return { lines, targets: target(1, byTag.name, ratio(byTag), { atLeast: 5 }) };
  },
};
