import { existsSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "bun:test";
import { failureOf } from "../blobs/conformance-tools.ts";
import { loadConfig } from "../config/load.ts";
import { Bench, traffic } from "../journal/journal-fixture.ts";
import { rebuildDisk } from "./rebuild-disk.ts";

test("what was cut short, where there was nothing before, leaves nothing", async () => {
  await using bench = new Bench();
  const { store, recorder } = await bench.recorded();
  await traffic(store, "a", 5);
  await recorder.close();
  const data = join(bench.directory, "data");
  const { config } = loadConfig({ env: {}, cwd: bench.directory, flags: { data } });
  const objects = await bench.objects();
  const stop = new AbortController();
  const progress = (): void => {
    expect(existsSync(join(data, "metadata"))).toBe(true);
    stop.abort(new Error("cut short"));
  };
  const cut = rebuildDisk(config, objects, { progress, signal: stop.signal });
  expect(String(await failureOf(cut))).toContain("cut short");
  expect(existsSync(join(data, "metadata"))).toBe(false);
  const rebuilt = await rebuildDisk(config, objects, {});
  expect(rebuilt).toMatchObject({ kept: undefined, wiped: undefined });
}, 20_000);
