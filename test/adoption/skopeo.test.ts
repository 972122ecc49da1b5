import { expect, test } from "bun:test";
import { mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { run, type Output } from "../clients/support/command.ts";
import { layeredImage, multiArchImage, type Sample } from "../clients/support/images.ts";
import { describeWith, toolPath } from "../clients/support/tools.ts";
import { startServer } from "../support/server.ts";
import { OLD_REGISTRIES, startOldRegistry } from "./support/old-registry.ts";
import { place } from "./support/place.ts";
import { adopt, adopted } from "./support/status.ts";

/** Names and contents of a `dir:` copy. */
function contents(directory: string): Record<string, unknown> {
  return Object.fromEntries(
    readdirSync(directory).map((file) => [file, Bun.hash(readFileSync(join(directory, file)))]),
  );
}

for (const program of OLD_REGISTRIES) {
  describeWith([program, "skopeo"], `skopeo on a directory that ${program} wrote`, () => {
    test("pulls by tag and digest what it pushed before, through serve and after --finish", async () => {
      using here = place();
      mkdirSync(join(here.home, "tmp"));
      const env = { PATH: toolPath, HOME: here.home, TMPDIR: join(here.home, "tmp") };
      const copy = async (from: string, to: string): Promise<Output> =>
        run(
          [
            "skopeo",
            "copy",
            "--all",
            "--src-tls-verify=false",
            "--dest-tls-verify=false",
            from,
            to,
          ],
          { env, cwd: here.home },
        );
      const old = await startOldRegistry(program, here.data);
      const samples: (readonly [string, Sample])[] = [
        ["lab/image", await layeredImage(join(here.home, "one"), 5)],
        ["lab/image/multi", await multiArchImage(join(here.home, "two"))],
      ];
      for (const [name, { layout, tag }] of samples) {
        await copy(`oci:${layout.dir}:${tag}`, `docker://${old.host}/${name}:${tag}`);
        // Docker's own media types are in most directories out there.
        await run(
          [
            "skopeo",
            "copy",
            "--format",
            "v2s2",
            "--src-tls-verify=false",
            "--dest-tls-verify=false",
          ].concat([`docker://${old.host}/${name}:${tag}`, `docker://${old.host}/${name}:docker`]),
          { env, cwd: here.home },
        );
      }
      let count = 0;
      const pull = async (host: string, reference: string): Promise<Record<string, unknown>> => {
        const directory = join(here.home, `pulled${++count}`);
        await copy(`docker://${host}/${reference}`, `dir:${directory}`);
        return contents(directory);
      };
      const references = samples.flatMap(([name, { tag, root }]) => [
        `${name}:${tag}`,
        `${name}:docker`,
        `${name}@${root.digest}`,
      ]);
      const before = new Map<string, Record<string, unknown>>();
      for (const reference of references) before.set(reference, await pull(old.host, reference));
      await old[Symbol.asyncDispose]();

      await using server = await startServer({ data: here.data });
      for (const reference of references) {
        expect(await pull(server.host, reference)).toEqual(before.get(reference) ?? {});
      }
      await adopted(here.data);
      expect((await adopt(here.data, "--finish")).code).toBe(0);
      for (const reference of references) {
        expect(await pull(server.host, reference)).toEqual(before.get(reference) ?? {});
      }
      const [[name, { layout }]] = samples as [readonly [string, Sample]];
      await copy(`oci:${layout.dir}:v1`, `docker://${server.host}/${name}:again`);
    }, 120_000);
  });
}
