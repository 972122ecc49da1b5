import { expect, test } from "bun:test";
import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { describeWith } from "../clients/support/tools.ts";
import { pushManifest, sha256 } from "../support/push.ts";
import { startServer } from "../support/server.ts";
import { catalog, expectAll, fill, nothing, pushImage, tagsOf } from "./support/content.ts";
import { OLD_REGISTRIES, startOldRegistry } from "./support/old-registry.ts";
import { place } from "./support/place.ts";
import { adopt, adopted } from "./support/status.ts";
import { treeOf } from "./support/tree.ts";

for (const program of OLD_REGISTRIES) {
  describeWith([program], `a directory that ${program} wrote`, () => {
    test("is served in place, changed by clients, and left as it was", async () => {
      using here = place();
      const { data } = here;
      const old = await startOldRegistry(program, data);
      const pushed = await fill(old.url);
      const names = await catalog(old.url);
      const lists = await Promise.all(names.map((name) => tagsOf(old.url, name)));
      await old[Symbol.asyncDispose]();
      const before = treeOf(join(data, "docker"));

      const server = await startServer({ data });
      try {
        await expectAll(server.url, pushed);
        const status = await adopted(data);
        expect(status.flaws.counts).toEqual({});
        expect(status.repositories).toBe(4);
        expect(statSync(join(data, "admin.sock")).mode & 0o777).toBe(0o600);
        expect(status.tags).toBe(6);
        expect(await catalog(server.url)).toEqual(names.toSorted());
        expect(await Promise.all(names.map((name) => tagsOf(server.url, name)))).toEqual(
          lists.map((tags) => tags.toSorted()),
        );
        // No byte was copied.
        for (const algorithm of readdirSync(join(data, "blobs"))) {
          expect(readdirSync(join(data, "blobs", algorithm))).toEqual([]);
        }

        // The artifact was pushed long before anybody asked who refers to what.
        const subject = pushed.tags.get("a")?.get("1.0");
        const referrers = (await (
          await fetch(`${server.url}/v2/a/referrers/${subject}`)
        ).json()) as { manifests: { artifactType: string }[] };
        expect(referrers.manifests.map(({ artifactType }) => artifactType)).toEqual([
          "application/vnd.test",
        ]);

        // New content beside the old, of layers that are there already.
        const more = nothing();
        await pushImage(server.url, more, "a", "3.0", [1, 9]);
        const moved = await pushImage(server.url, more, "a", "latest", [2, 9]);
        await pushImage(server.url, more, "new/one", "1", [10]);
        await expectAll(server.url, more);
        expect(more.tags.get("a")?.get("latest")).toBe(moved.digest);
        pushed.tags.get("a")?.delete("latest");

        // Deleting works on what was taken over, and touches no file of it.
        const gone = pushed.tags.get("a-b")?.get("1.0") ?? "";
        const answer = await fetch(`${server.url}/v2/a-b/manifests/${gone}`, { method: "DELETE" });
        expect(answer.status).toBe(202);
        expect(await tagsOf(server.url, "a-b")).toEqual([]);
        expect((await fetch(`${server.url}/v2/a-b/manifests/1.0`)).status).toBe(404);
        expect(treeOf(join(data, "docker"))).toBe(before);
      } finally {
        await server.stop();
      }

      const again = await startServer({ data });
      try {
        expect(await tagsOf(again.url, "a-b")).toEqual([]);
        expect(await tagsOf(again.url, "a")).toEqual(["1.0", "2.0", "3.0", "latest"]);
      } finally {
        await again.stop();
      }
      expect(treeOf(join(data, "docker"))).toBe(before);

      await using back = await startOldRegistry(program, data);
      await expectAll(back.url, pushed);
      expect(await tagsOf(back.url, "a-b")).toEqual(["1.0"]);
    }, 120_000);

    test("is Holdfast's own after `adopt --finish`, with the server running or not", async () => {
      for (const online of [true, false]) {
        using here = place();
        const { data } = here;
        const old = await startOldRegistry(program, data);
        const pushed = await fill(old.url);
        await old[Symbol.asyncDispose]();

        const server = await startServer({ data });
        await adopted(data);
        // Bytes that nothing refers to any more go with the directory, and are named before.
        const dead = pushed.tags.get("a-b")?.get("1.0") ?? "";
        await fetch(`${server.url}/v2/a-b/manifests/${dead}`, { method: "DELETE" });
        pushed.tags.delete("a-b");
        for (const path of pushed.paths.keys()) {
          if (path.startsWith("a-b/manifests/")) pushed.paths.delete(path);
        }
        if (!online) await server.stop();

        const before = treeOf(join(data, "docker"));
        const dry = await adopt(data, "--finish", "--dry-run");
        expect(dry.stdout).toMatch(
          /\d+ blobs .* are to be taken over, \d+ of them to be read first/,
        );
        expect(dry.code).toBe(0);
        expect(treeOf(join(data, "docker"))).toBe(before);

        const finished = await adopt(data, "--finish");
        expect(finished.stderr).toMatch(/^(\d+%, .*\n)*$/);
        expect(finished.stdout).toContain("Done: the old directory is gone.");
        expect(finished.code).toBe(0);
        expect(existsSync(join(data, "docker"))).toBe(false);
        expect(readdirSync(data).filter((name) => name.includes("removed"))).toEqual([]);

        if (online) {
          await expectAll(server.url, pushed);
          await server.stop();
        }
        const again = await startServer({ data });
        await expectAll(again.url, pushed);
        await pushManifest(again.url, "a", "4.0", await manifestOf(again.url, "a", "2.0"));
        await again.stop();
        const status = await adopt(data, "--status");
        expect(status.stdout).toContain("phase         finished");
        const twice = await adopt(data, "--finish");
        expect(twice.stdout).toContain("the old directory is gone already");
        expect(twice.code).toBe(1);
      }
    }, 120_000);
  });
}

async function manifestOf(url: string, repository: string, tag: string): Promise<string> {
  const answer = await fetch(`${url}/v2/${repository}/manifests/${tag}`);
  const text = await answer.text();
  expect(answer.headers.get("docker-content-digest")).toBe(sha256(text));
  return text;
}
