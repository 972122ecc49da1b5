import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { run } from "../clients/support/command.ts";
import { bigImage, multiArchImage } from "../clients/support/images.ts";
import { describeWith, toolPath } from "../clients/support/tools.ts";
import { describePostgres, startPostgres, type TestPostgres } from "../support/postgres.ts";
import { startServer } from "../support/server.ts";
import { bucketPlace, type BucketPlace } from "./support/bucket-place.ts";
import {
  catalog,
  expectAll,
  fill,
  nothing,
  pushImage,
  tagsOf,
  type Pushed,
} from "./support/content.ts";
import {
  freeHost,
  OLD_REGISTRIES,
  runOldRegistry,
  type OldRegistry,
  type RunningRegistry,
} from "./support/old-registry.ts";
import { adopt, adopted } from "./support/status.ts";
import { treeOf } from "./support/tree.ts";

/** Above what distribution sends in one part. */
const BIG = 18 << 20;

/** What a real client pushed into the bucket, and how it pulls it. */
interface Old {
  readonly registry: RunningRegistry;
  /** Of distribution, and of Holdfast after it. */
  readonly config: string;
  readonly pushed: Pushed;
  readonly references: readonly string[];
  pull(host: string, reference: string): Promise<Record<string, unknown>>;
}

async function fillBucket(program: OldRegistry, here: BucketPlace): Promise<Old> {
  const host = freeHost();
  const config = join(here.home, "config.yml");
  await Bun.write(config, here.config(host));
  const registry = await runOldRegistry(program, config, host);
  const pushed = await fill(registry.url);
  mkdirSync(join(here.home, "tmp"));
  const env = { PATH: toolPath, HOME: here.home, TMPDIR: join(here.home, "tmp") };
  const skopeo = async (from: string, to: string): Promise<unknown> =>
    run(
      ["skopeo", "copy", "--all", "--src-tls-verify=false", "--dest-tls-verify=false", from, to],
      { env, cwd: here.home },
    );
  const samples = [
    ["lab/big", await bigImage(join(here.home, "one"), BIG)],
    ["lab/multi", await multiArchImage(join(here.home, "two"))],
  ] as const;
  for (const [name, { layout, tag }] of samples) {
    await skopeo(`oci:${layout.dir}:${tag}`, `docker://${host}/${name}:${tag}`);
  }
  let count = 0;
  return {
    registry,
    config,
    pushed,
    references: samples.flatMap(([name, { tag, root }]) => [
      `${name}:${tag}`,
      `${name}@${root.digest}`,
    ]),
    async pull(from, reference) {
      const directory = join(here.home, `pulled${++count}`);
      await skopeo(`docker://${from}/${reference}`, `dir:${directory}`);
      return Object.fromEntries(
        readdirSync(directory).map((file) => [file, Bun.hash(readFileSync(join(directory, file)))]),
      );
    },
  };
}

for (const program of OLD_REGISTRIES) {
  describeWith([program, "skopeo", "versitygw"], `a bucket that ${program} wrote`, () => {
    describePostgres("with PostgreSQL", () => {
      let database: TestPostgres;
      beforeAll(async () => {
        database = await startPostgres({ settings: ["fsync = off"] });
      });
      afterAll(() => database[Symbol.asyncDispose]());

      test("is served in place by two nodes at once, changed by clients, and left as it was", async () => {
        await using here = await bucketPlace("old/registry/");
        const old = await fillBucket(program, here);
        const names = await catalog(old.registry.url);
        const lists = await Promise.all(names.map((name) => tagsOf(old.registry.url, name)));
        const before = new Map<string, Record<string, unknown>>();
        for (const reference of old.references) {
          before.set(reference, await old.pull(old.registry.host, reference));
        }
        await old.registry[Symbol.asyncDispose]();
        const tree = treeOf(join(here.files, "docker"));

        const options = {
          args: ["--config", old.config],
          env: { HOLDFAST_METADATA_POSTGRES_URL: database.url },
        };
        await using one = await startServer(options);
        await using two = await startServer(options);
        await Promise.all([expectAll(one.url, old.pushed), expectAll(two.url, old.pushed)]);
        const status = await adopted(one.data);
        expect(await adopted(two.data)).toEqual(status);
        expect(status.flaws.counts).toEqual({});
        expect(status.repositories).toBe(6);
        expect(status.tags).toBe(8);
        const told = [one, two].filter((node) => node.logs().includes("taking over what"));
        expect(told).toHaveLength(1);
        expect(told[0]?.logs()).toContain("whether distribution still writes to the bucket");

        for (const { url, host } of [one, two]) {
          expect(await catalog(url)).toEqual(names.toSorted());
          expect(await Promise.all(names.map((name) => tagsOf(url, name)))).toEqual(
            lists.map((tags) => tags.toSorted()),
          );
          for (const reference of old.references) {
            expect(await old.pull(host, reference)).toEqual(before.get(reference) ?? {});
          }
          const subject = old.pushed.tags.get("a")?.get("1.0");
          const referrers = (await (await fetch(`${url}/v2/a/referrers/${subject}`)).json()) as {
            manifests: { artifactType: string }[];
          };
          expect(referrers.manifests.map(({ artifactType }) => artifactType)).toEqual([
            "application/vnd.test",
          ]);
        }
        // No byte was copied.
        expect(here.ownBlobs()).toEqual([]);
        expect(treeOf(join(here.files, "docker"))).toBe(tree);

        // New content beside the old, of layers that are there already: what is checked is not stored again.
        const more = nothing();
        await pushImage(one.url, more, "a", "3.0", [1, 9]);
        await pushImage(two.url, more, "new/one", "1", [10]);
        await expectAll(two.url, more);
        const layers = [...more.paths].filter(([path]) => path.includes("/blobs/"));
        const manifests = more.paths.size - layers.length;
        expect(here.ownBlobs().length).toBeLessThan(2 * (layers.length + manifests));
        const kept = old.pushed.paths
          .values()
          .find((digest) => layers.some(([, other]) => other === digest));
        expect(kept).toBeDefined();
        expect(here.ownBlobs().filter((name) => name.includes((kept ?? "").slice(7)))).toEqual([]);

        // A deletion at one node is one at the other, and touches no object of distribution's.
        const gone = old.pushed.tags.get("a-b")?.get("1.0") ?? "";
        const answer = await fetch(`${one.url}/v2/a-b/manifests/${gone}`, { method: "DELETE" });
        expect(answer.status).toBe(202);
        expect((await fetch(`${two.url}/v2/a-b/manifests/1.0`)).status).toBe(404);
        expect(treeOf(join(here.files, "docker"))).toBe(tree);

        const finish = await adopt(one.data, "--finish", "--config", old.config);
        expect(finish.stdout).toContain("in a bucket there is nothing to finish");
        expect(finish.code).toBe(1);

        await one.stop();
        const offline = await adopt(join(here.home, "nowhere"), "--config", old.config);
        expect(offline.stderr).toContain("only a running node can say");
        expect(offline.code).toBe(1);
        await using again = await startServer(options);
        expect(await tagsOf(again.url, "a-b")).toEqual([]);
        expect(await tagsOf(again.url, "a")).toEqual(["1.0", "2.0", "3.0", "latest"]);
        expect(again.logs()).not.toContain("taking over what");

        await using back = await runOldRegistry(program, old.config, old.registry.host);
        await expectAll(back.url, old.pushed);
        expect(await tagsOf(back.url, "a-b")).toEqual(["1.0"]);
      }, 180_000);
    });

    test("is served by one node without a database, whose disk may be lost", async () => {
      await using here = await bucketPlace();
      const old = await fillBucket(program, here);
      const before = new Map<string, Record<string, unknown>>();
      for (const reference of old.references) {
        before.set(reference, await old.pull(old.registry.host, reference));
      }
      await old.registry[Symbol.asyncDispose]();
      const tree = treeOf(join(here.files, "docker"));

      const options = { args: ["--config", old.config] };
      const first = await startServer(options);
      await expectAll(first.url, old.pushed);
      await adopted(first.data);
      const gone = old.pushed.tags.get("a-b")?.get("1.0") ?? "";
      await fetch(`${first.url}/v2/a-b/manifests/${gone}`, { method: "DELETE" });
      const more = nothing();
      await pushImage(first.url, more, "a", "3.0", [1, 9]);
      await first.stop();

      await using second = await startServer(options);
      expect(second.logs()).toContain("the metadata is rebuilt");
      expect(await tagsOf(second.url, "a-b")).toEqual([]);
      old.pushed.tags.delete("a-b");
      for (const path of old.pushed.paths.keys()) {
        if (path.startsWith("a-b/manifests/")) old.pushed.paths.delete(path);
      }
      await expectAll(second.url, old.pushed);
      await expectAll(second.url, more);
      for (const reference of old.references) {
        expect(await old.pull(second.host, reference)).toEqual(before.get(reference) ?? {});
      }
      expect((await adopted(second.data)).adopted).toBe(6);
      expect(second.logs()).not.toContain("taking over what");
      expect(treeOf(join(here.files, "docker"))).toBe(tree);
    }, 120_000);
  });
}
