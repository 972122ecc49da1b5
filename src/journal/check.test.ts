import { expect, test } from "bun:test";
import { collected } from "../blobs/conformance-tools.ts";
import { checkJournal } from "./index.ts";
import { Bench, traffic } from "./journal-fixture.ts";

test("a sound journal has no problems; each damaged object is named", async () => {
  await using bench = new Bench();
  const objects = await bench.objects();
  const { store, recorder } = await bench.recorded();
  await traffic(store, "a", 5);
  await recorder.snapshot();
  await traffic(store, "b", 5);
  await recorder.close();
  let bytes = 0;
  const read = (more: number) => (bytes += more);
  expect(await collected(checkJournal(objects, { read }))).toEqual([]);
  const all = await collected(objects.list("journal/"));
  const manifests = all.filter(({ name }) => name.startsWith("journal/snapshots/"));
  const size = (some: typeof all) => some.reduce((sum, one) => sum + one.size, 0);
  expect(bytes).toBe(size(all) - size(manifests));
  for (const { name } of all) {
    const content = (await objects.get(name)) ?? new Uint8Array();
    const spoilt = content.slice();
    spoilt[20] = (spoilt[20] ?? 0) ^ 0xff;
    await objects.put(name, spoilt);
    const problems = await collected(checkJournal(objects));
    expect(problems).toContainEqual({
      object: name,
      problem: "damaged or gone",
      loses: name.startsWith("journal/segments/"),
    });
    await objects.put(name, content);
  }
});

test("a snapshot that is all there is of its beginning is missed", async () => {
  await using bench = new Bench();
  const objects = await bench.objects();
  const { store, recorder } = await bench.recorded();
  await traffic(store, "a", 5);
  await recorder.close();
  await bench.rebuilt();
  for await (const { name } of objects.list("journal/parts/")) await objects.delete(name);
  const [problem] = await collected(checkJournal(objects));
  expect(problem?.object).toStartWith("journal/parts/");
  expect(problem?.loses).toBe(true);
});
