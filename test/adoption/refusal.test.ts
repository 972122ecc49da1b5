import { expect, test } from "bun:test";
import { closeSync, openSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { describeWith } from "../clients/support/tools.ts";
import { BUN, MAIN, freePort } from "../support/processes.ts";
import { startServer } from "../support/server.ts";
import { expectAll, fill } from "./support/content.ts";
import { ForeignFiles } from "./support/foreign-files.ts";
import { configFor, OLD_REGISTRIES, startOldRegistry } from "./support/old-registry.ts";
import { place } from "./support/place.ts";
import { adopt, adopted } from "./support/status.ts";

/** `holdfast serve` that must not start: its exit code and what it says. */
function serve(data: string): { code: number; stderr: string } {
  const args = ["serve", "--data", data, "--listen", `127.0.0.1:${freePort()}`];
  const child = Bun.spawnSync([BUN, MAIN, ...args], {
    env: { PATH: process.env["PATH"] ?? "", HOLDFAST_METRICS_LISTEN: "127.0.0.1:0" },
    timeout: 20_000,
  });
  return { code: child.exitCode, stderr: child.stderr.toString() };
}

for (const program of OLD_REGISTRIES) {
  describeWith([program], `beside a running ${program}`, () => {
    test("the start and --finish are refused with its process id", async () => {
      using here = place();
      const other = join(here.home, "other-name");
      {
        // Named by another path, as a container would.
        symlinkSync(here.data, other);
        await using old = await startOldRegistry(program, here.data);
        await fill(old.url);
        for (const data of [here.data, other]) {
          const { code, stderr } = serve(data);
          expect(code).toBe(1);
          expect(stderr.trim().split("\n")).toHaveLength(1);
          expect(stderr).toContain(`process ${old.pid} (`);
          expect(stderr).toContain("stop it");
        }
      }
      const server = await startServer({ data: here.data });
      await adopted(here.data);
      await server.stop();
      await using old = await startOldRegistry(program, here.data);
      const finish = await adopt(here.data, "--finish");
      expect(finish.code).toBe(1);
      expect(finish.stdout).toContain(`process ${old.pid} (`);
    }, 60_000);

    test("that was made read-only, Holdfast takes over and serves the same", async () => {
      using here = place();
      const first = await startOldRegistry(program, here.data);
      const pushed = await fill(first.url);
      await first[Symbol.asyncDispose]();
      await using old = await startOldRegistry(program, here.data, true);
      await using server = await startServer({ data: here.data });
      expect((await adopted(here.data)).phase).toBe("done");
      await expectAll(server.url, pushed);
      await expectAll(old.url, pushed);
    }, 30_000);

    test("on another directory it does not matter", async () => {
      using here = place();
      using elsewhere = place();
      await using old = await startOldRegistry(program, elsewhere.data);
      new ForeignFiles(here.data).image("a", "1", "bytes");
      await using server = await startServer({ data: here.data });
      expect((await adopted(here.data)).repositories).toBe(1);
      expect(old.pid).toBeGreaterThan(0);
      expect(server.pid).toBeGreaterThan(0);
    }, 30_000);

    test("its config.yml starts Holdfast in its place, without deletes unless they were allowed", async () => {
      using here = place();
      const old = await startOldRegistry(program, here.data);
      const pushed = await fill(old.url);
      await old[Symbol.asyncDispose]();
      const deletes = async (
        config: string,
        env: Readonly<Record<string, string>>,
      ): Promise<number> => {
        const host = `127.0.0.1:${freePort()}`;
        const path = join(here.home, "config.yml");
        await Bun.write(path, config.replaceAll("HOST", host));
        const child = Bun.spawn([BUN, MAIN, "serve", "--config", path], {
          stdout: "ignore",
          stderr: "inherit",
          cwd: here.home,
          env: { PATH: process.env["PATH"] ?? "", HOLDFAST_METRICS_LISTEN: "127.0.0.1:0", ...env },
        });
        try {
          const url = `http://${host}`;
          for (let tries = 0; tries < 200; tries++) {
            if (
              await fetch(`${url}/readyz`).then(
                (answer) => answer.ok,
                () => false,
              )
            )
              break;
            await Bun.sleep(50);
          }
          await expectAll(url, pushed);
          const digest = pushed.tags.get("a/b")?.get("1.0") ?? "";
          const answer = await fetch(`${url}/v2/a/b/manifests/${digest}`, { method: "DELETE" });
          return answer.status;
        } finally {
          child.kill();
          await child.exited;
        }
      };
      const closed = `version: 0.1\nstorage: { filesystem: { rootdirectory: /nowhere } }\nhttp: { addr: "HOST" }\n`;
      const moved = { REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY: here.data };
      expect(await deletes(closed, moved)).toBe(405);
      expect(await deletes(configFor(here.data, "HOST"), {})).toBe(202);
    }, 60_000);
  });
}

test("a program that holds a file open for writing is named, one that only reads is not", async () => {
  using here = place();
  const files = new ForeignFiles(here.data);
  const { layer } = files.image("a", "1", "bytes");
  const reader = openSync(files.blobPath(layer), "r");
  await using server = await startServer({ data: here.data });
  await adopted(here.data);
  await server.stop();
  closeSync(reader);
  const writer = openSync(files.blobPath(layer), "r+");
  const { code, stderr } = serve(here.data);
  closeSync(writer);
  expect(code).toBe(1);
  expect(stderr).toContain(`process ${process.pid} (`);
}, 30_000);
