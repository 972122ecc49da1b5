import type { Bench, Figure, Result } from "../bench.ts";
import { alternate, registries } from "../bench.ts";
import { Connection } from "../client.ts";
import { config, imageManifest, imageType, randomBlob } from "../payload.ts";
import { expectStatus, pushBlob, pushManifest } from "../registry.ts";
import { ratio, target } from "../targets.ts";
import { wrk } from "../wrk.ts";

const repository = "bench/manifests";

const run = async (bench: Bench): Promise<Result> => {
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
  const byTag = await get("tag", "latest");
  const byDigest = await get("digest", manifest.digest);
  return {
    lines: [byTag, byDigest],
    targets: target(1, byTag.name, ratio(byTag), { atLeast: 5 }),
  };
};

export const manifestGet: Figure = { id: 1, title: "manifest GET", run };
