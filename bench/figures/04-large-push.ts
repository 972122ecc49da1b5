import { rmSync } from "node:fs";
import { join } from "node:path";
import type { Bench, Figure, Line } from "../bench.ts";
import { alternate, registries } from "../bench.ts";
import { createSource, renewSource } from "../payload.ts";
import { openClient } from "../servers.ts";
import { ratio, target } from "../targets.ts";
import { expectBlob, pushByPatch, pushByPut } from "../uploads.ts";

const repository = "bench/large";
const size = 2 ** 30;

/** With PATCH, without. Of several nodes the first gets the bytes, the next ends the upload or shows the blob. */
export const largePushes = async (bench: Bench): Promise<readonly Line[]> => {
  bench.progress("making 1 GiB of random bytes");
  let source = await createSource(join(bench.sources, "upload"), size);
  const push = (name: string, how: typeof pushByPut) =>
    alternate(bench, {
      figure: 4,
      name: `1 GiB push, ${name}`,
      unit: "s",
      work: "GB",
      servers: registries(bench),
      prepare: async () => {
        source = await renewSource(source);
      },
      once: async (server) => {
        const connection = await openClient(server);
        const began = performance.now();
        await how(server, connection, repository, source);
        const value = (performance.now() - began) / 1000;
        await expectBlob(connection, repository, source);
        connection.close();
        return { value, work: size / 1e9 };
      },
    });
  const patch = await push("POST + PATCH + PUT", pushByPatch);
  const put = await push("POST + PUT", pushByPut);
  rmSync(source.path);
  return [patch, put];
};

export const largePush: Figure = {
  id: 4,
  title: "1 GiB push",
  run: async (bench) => {
    const lines = await largePushes(bench);
    const targets = lines.flatMap((line) =>
      target(4, `${line.name}: time`, ratio(line), { atMost: 0.5 }),
    );
    return { lines, targets };
  },
};
