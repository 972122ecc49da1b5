import { expect, test } from "bun:test";
import { openInProcess, type InProcess } from "../support/in-process.ts";
import { pushImage, pushManifest } from "./support/requests.ts";
import { recordsOf, TestClock } from "./support/stores.ts";

async function historyOf(registry: InProcess, tag: string): Promise<unknown[]> {
  const records = await recordsOf(registry.meta, `history!a!${tag}!`);
  return records.map(({ value }) => value);
}

test("a tag's history tells each move: when, by whom, from where to where", async () => {
  const clock = new TestClock();
  await using registry = await openInProcess({ clock });
  const start = clock.now();
  const by = "anonymous";
  const one = await pushImage(registry.handle, "a", "v1", "one");
  clock.advance(1000);
  const two = await pushImage(registry.handle, "a", "v1", "two");
  clock.advance(1000);
  await registry.handle("/v2/a/manifests/v1", { method: "DELETE" });
  clock.advance(1000);
  await pushManifest(registry.handle, "a", "v1", one.text);
  clock.advance(1000);
  await registry.handle(`/v2/a/manifests/${one.digest}`, { method: "DELETE" });
  expect(await historyOf(registry, "v1")).toEqual([
    { to: one.digest, by, at: start },
    { from: one.digest, to: two.digest, by, at: start + 1000 },
    { from: two.digest, by, at: start + 2000 },
    { to: one.digest, by, at: start + 3000 },
    { from: one.digest, by, at: start + 4000 },
  ]);
});

test("a push that moves nothing writes no history", async () => {
  await using registry = await openInProcess();
  const { text } = await pushImage(registry.handle, "a", "v1");
  await pushManifest(registry.handle, "a", "v1", text);
  expect(await historyOf(registry, "v1")).toHaveLength(1);
});

test("histories of tags that begin alike are kept apart", async () => {
  await using registry = await openInProcess();
  for (const tag of ["1", "1.0", "1-0", "1.0.0"]) await pushImage(registry.handle, "a", tag, tag);
  for (const tag of ["1", "1.0", "1-0", "1.0.0"]) {
    expect(await historyOf(registry, tag)).toHaveLength(1);
  }
});
