import { expect, test } from "bun:test";
import { join } from "node:path";
import { sha256 } from "../support/push.ts";
import { startServer } from "../support/server.ts";
import { until } from "../support/processes.ts";
import { catalog, tagsOf } from "./support/content.ts";
import { ForeignFiles } from "./support/foreign-files.ts";
import { place } from "./support/place.ts";
import { adopt, adopted, statusOf } from "./support/status.ts";
import { treeOf } from "./support/tree.ts";

const REPOSITORIES = 3000;
const TAGS = 300;

/** Many small repositories, and one whose adoption takes longest, last in no particular order. */
function write(data: string): Map<string, string> {
  const files = new ForeignFiles(data);
  const digests = new Map<string, string>();
  for (let i = 0; i < REPOSITORIES; i++) {
    const name = `group${i % 7}/repo${i}`;
    digests.set(name, files.image(name, "v1", "a layer that all of them share").manifest);
  }
  const many = files.image("many", "v0", "a layer that all of them share").manifest;
  for (let i = 1; i < TAGS; i++) files.tag("many", `v${i}`, many);
  return digests.set("many", many);
}

test("kill -9 while the directory is taken over loses nothing; pulls and changes go on meanwhile", async () => {
  using here = place();
  const digests = write(here.data);
  const names = [...digests.keys()];
  const before = treeOf(join(here.data, "docker"));
  const pull = async (url: string, name: string): Promise<void> => {
    const answer = await fetch(`${url}/v2/${name}/manifests/v${name === "many" ? 0 : 1}`);
    expect([name, answer.status, sha256(await answer.bytes())]).toEqual([
      name,
      200,
      digests.get(name) ?? "",
    ]);
  };
  const deleted = "group0/repo0";

  let kills = 0;
  for (let round = 0; round < 4; round++) {
    const server = await startServer({ data: here.data });
    const { url } = server;
    // Repositories that are still to come, by all workers at once, twice each.
    const chosen = names.filter((_, i) => i % 97 === round);
    await Promise.all([...chosen, ...chosen, "many"].map((name) => pull(url, name)));
    const status = await statusOf(here.data);
    if (round === 0) {
      expect(status?.phase).not.toBe("done");
      const answer = await fetch(`${url}/v2/${deleted}/manifests/v1`, { method: "DELETE" });
      expect(answer.status).toBe(202);
    }
    if (status?.phase !== "done") kills++;
    await server.kill();
    await server.stop();
  }
  expect(kills).toBeGreaterThan(0);

  const server = await startServer({ data: here.data });
  const status = await adopted(here.data);
  expect(status).toMatchObject({
    repositories: REPOSITORIES + 1,
    adopted: REPOSITORIES + 1,
    manifests: REPOSITORIES + 1,
    tags: REPOSITORIES + TAGS,
    layers: 2 * (REPOSITORIES + 1),
  });
  expect(status.flaws.counts).toEqual({});
  expect(await tagsOf(server.url, "many")).toHaveLength(TAGS);
  // What a client deleted from the half that was there stays deleted.
  expect(await tagsOf(server.url, deleted)).toEqual([]);
  for (const name of names.filter((name) => name !== deleted)) await pull(server.url, name);
  expect(await catalog(server.url)).toHaveLength(1000);
  await server.stop();
  expect(treeOf(join(here.data, "docker"))).toBe(before);
}, 180_000);

for (const ending of ["kill -9", "SIGTERM"]) {
  test(`${ending} during --finish keeps everything, and the next one ends it`, async () => {
    using here = place();
    const digests = write(here.data);
    const first = await startServer({ data: here.data });
    await adopted(here.data);
    const running = adopt(here.data, "--finish");
    // Some blobs are taken over by then, most are not.
    await until(
      async () => ((await statusOf(here.data))?.blobs?.foreign ?? Infinity) < REPOSITORIES * 2,
      30_000,
      "the first blobs to be taken over",
    );
    if (ending === "kill -9") await first.kill();
    else process.kill(first.pid, "SIGTERM");
    if (ending === "SIGTERM") expect(await first.exited).toBe(0);
    expect(first.logs()).not.toContain('"level":"error"');
    const { code, stdout } = await running;
    expect(code).toBe(1);
    expect(stdout).toContain("run it again");
    await first.stop();

    const stopped = await adopt(here.data, "--status");
    expect(stopped.stdout).toContain("phase         done");
    const finished = await adopt(here.data, "--finish");
    expect(finished.stdout).toContain("Done");
    const server = await startServer({ data: here.data });
    for (const [name, digest] of digests) {
      const answer = await fetch(`${server.url}/v2/${name}/manifests/${digest}`);
      expect(sha256(await answer.bytes())).toBe(digest);
    }
    await server.stop();
  }, 180_000);
}

test("SIGTERM while the directory is taken over ends at once, and the next start goes on", async () => {
  using here = place();
  write(here.data);
  const first = await startServer({ data: here.data });
  await first.stop();
  const stopped = await adopt(here.data);
  expect(stopped.stdout).toMatch(/phase +(listing|indexing)/);
  await using server = await startServer({ data: here.data });
  expect((await adopted(here.data)).adopted).toBe(REPOSITORIES + 1);
  expect(server.logs()).not.toContain('"level":"error"');
}, 180_000);
