/** `bun scripts/rebuild-fixture.ts` does the same with 1,000,000 objects. */
import { join } from "node:path";
import { expect, test } from "bun:test";
import { BUN } from "../support/processes.ts";

const OBJECTS = 20_000;
const MEMORY_MAX_MIB = 250;

test(`${OBJECTS} objects are rebuilt equal, in bounded memory`, async () => {
  const script = join(import.meta.dir, "../../scripts/rebuild-fixture.ts");
  const child = Bun.spawn([BUN, script, `${OBJECTS}`], { stdio: ["ignore", "pipe", "inherit"] });
  const text = await new Response(child.stdout).text();
  expect(await child.exited).toBe(0);
  expect(text).toContain("\nequal\n");
  const [, entries, commits, memory] =
    /(\d+) entries, (\d+) commits replayed .* at most (\d+) MiB/.exec(text) ?? [];
  expect(Number(entries)).toBeGreaterThan(OBJECTS * 0.9);
  expect(Number(commits)).toBe(OBJECTS / 10);
  expect(Number(memory)).toBeLessThan(MEMORY_MAX_MIB);
}, 60_000);
