import { expect, test } from "bun:test";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { describeWith } from "../clients/support/tools.ts";
import { describePostgres, startPostgres } from "../support/postgres.ts";
import { until } from "../support/processes.ts";
import { sha256 } from "../support/push.ts";
import { startServer, type TestServer } from "../support/server.ts";
import { bucketPlace, type BucketPlace } from "./support/bucket-place.ts";
import { catalog, tagsOf } from "./support/content.ts";
import { ForeignFiles } from "./support/foreign-files.ts";
import { adopted, statusOf } from "./support/status.ts";
import { treeOf } from "./support/tree.ts";

const REPOSITORIES = 800;
const TAGS = 100;
/** Time to see that a node that was killed is dead, and to go on with its work. */
const PATIENCE_MS = 60_000;

/** Many small repositories, and one of many tags. */
function write(here: BucketPlace): Map<string, string> {
  const files = new ForeignFiles(here.files);
  const digests = new Map<string, string>();
  for (let i = 0; i < REPOSITORIES; i++) {
    const name = `group${i % 7}/repo${i}`;
    digests.set(name, files.image(name, "v1", "a layer that all of them share").manifest);
  }
  const many = files.image("many", "v1", "a layer that all of them share").manifest;
  for (let i = 2; i <= TAGS; i++) files.tag("many", `v${i}`, many);
  return digests.set("many", many);
}

async function pull(url: string, name: string, digest: string | undefined): Promise<void> {
  const answer = await fetch(`${url}/v2/${name}/manifests/v1`);
  expect([name, answer.status, sha256(await answer.bytes())]).toEqual([name, 200, digest ?? ""]);
}

/** Some are acknowledged: of what is seen, as many as are taken over at once may not yet be in the journal. */
async function isTaking(server: TestServer): Promise<void> {
  const some = async (): Promise<boolean> => {
    const status = await statusOf(server.data);
    return status?.phase === "indexing" && status.adopted > 20 + 32;
  };
  await until(some, 30_000, "some repositories to be taken over");
}

async function expectAll(server: TestServer, digests: Map<string, string>): Promise<void> {
  const status = await adopted(server.data);
  expect(status).toMatchObject({
    repositories: REPOSITORIES + 1,
    adopted: REPOSITORIES + 1,
    manifests: REPOSITORIES + 1,
    tags: REPOSITORIES + TAGS,
    layers: 2 * (REPOSITORIES + 1),
  });
  expect(status.flaws.counts).toEqual({});
  expect(await tagsOf(server.url, "many")).toHaveLength(TAGS);
  for (const [name, digest] of digests) await pull(server.url, name, digest);
  expect(await catalog(server.url)).toHaveLength(REPOSITORIES + 1);
}

describeWith(
  ["versitygw"],
  "a bucket of distribution's layout, taken over with interruptions",
  () => {
    describePostgres("by two nodes", () => {
      test("one killed in the middle is continued by the other, which answers pulls meanwhile", async () => {
        await using here = await bucketPlace();
        await using database = await startPostgres({ settings: ["fsync = off"] });
        const digests = write(here);
        const tree = treeOf(join(here.files, "docker"));
        const config = join(here.home, "config.yml");
        await Bun.write(config, here.config("127.0.0.1:1"));
        const options = {
          args: ["--config", config],
          env: { HOLDFAST_METADATA_POSTGRES_URL: database.url },
        };
        await using one = await startServer(options);
        await isTaking(one);
        await using two = await startServer(options);
        const deleted = "group0/repo0";
        const chosen = [...digests].filter(([name], i) => i % 40 === 1 && name !== deleted);
        for (const { url } of [one, two]) {
          await Promise.all(chosen.map(([name, digest]) => pull(url, name, digest)));
        }
        const answer = await fetch(
          `${two.url}/v2/${deleted}/manifests/${digests.get(deleted) ?? ""}`,
          { method: "DELETE" },
        );
        expect(answer.status).toBe(202);
        expect((await statusOf(one.data))?.phase).not.toBe("done");
        expect(one.logs()).toContain("taking over what");
        expect(two.logs()).not.toContain("taking over what");
        await one.kill();

        for (const [name, digest] of [...digests].filter((_, i) => i % 40 === 2)) {
          await pull(two.url, name, digest);
        }
        await until(
          () => two.logs().includes("taking over what"),
          PATIENCE_MS,
          "the other node to go on",
        );
        const status = await adopted(two.data);
        expect(status.adopted).toBe(REPOSITORIES + 1);
        expect(await tagsOf(two.url, deleted)).toEqual([]);
        expect((await fetch(`${two.url}/v2/${deleted}/manifests/v1`)).status).toBe(404);
        digests.delete(deleted);
        await using three = await startServer(options);
        await expectAll(three, digests);
        expect(three.logs()).not.toContain("taking over what");
        for (const node of [one, two, three]) expect(node.logs()).not.toContain('"level":"error"');
        expect(treeOf(join(here.files, "docker"))).toBe(tree);
        expect(here.ownBlobs()).toEqual([]);
      }, 180_000);
    });

    for (const disk of ["kept", "lost"]) {
      test(`kill -9 of the only node, disk ${disk}: the next start goes on`, async () => {
        await using here = await bucketPlace("p/");
        const digests = write(here);
        const tree = treeOf(join(here.files, "docker"));
        const config = join(here.home, "config.yml");
        await Bun.write(config, here.config("127.0.0.1:1"));
        const data = join(here.home, "disk");
        const options = { args: ["--config", config], data, patience: PATIENCE_MS };
        const first = await startServer(options);
        await isTaking(first);
        await first.kill();
        expect(first.logs()).not.toContain("is taken over");
        await first.stop();
        if (disk === "lost") rmSync(data, { recursive: true });

        await using second = await startServer(options);
        const before = await statusOf(data);
        expect(before?.adopted).toBeGreaterThan(20);
        await expectAll(second, digests);
        expect(second.logs()).toContain("what distribution left is taken over");
        expect(second.logs()).not.toContain('"level":"error"');
        expect(treeOf(join(here.files, "docker"))).toBe(tree);
        expect(here.ownBlobs()).toEqual([]);
      }, 180_000);
    }
  },
);
