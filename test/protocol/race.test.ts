import { expect, test } from "bun:test";
import { openInProcess } from "../support/in-process.ts";
import { bytesOf, digestOf, EMPTY_JSON, imageOf } from "./support/content.ts";
import { openSession, pushBlob, pushImage, pushManifest, put, tagsOf } from "./support/requests.ts";
import { recordsOf, uploadsOf } from "./support/stores.ts";

const MANY = Array.from({ length: 50 }, (_, i) => i);

for (const [what, content] of [
  ["the empty JSON", EMPTY_JSON],
  ["a large blob", bytesOf(200_000)],
] as const) {
  test(`${what} pushed fifty times at once into five repositories is stored once, and every push succeeds`, async () => {
    await using registry = await openInProcess();
    const digest = digestOf(content);
    const statuses = await Promise.all(
      MANY.map(async (i) => {
        const location = await openSession(registry.handle, `r${i % 5}`);
        return (await put(registry.handle, `${location}?digest=${digest}`, content.slice())).status;
      }),
    );
    expect(statuses).toEqual(MANY.map(() => 201));
    for (const i of [0, 1, 2, 3, 4]) {
      const blob = await registry.handle(`/v2/r${i}/blobs/${digest}`);
      expect(Buffer.from(await blob.arrayBuffer())).toEqual(Buffer.from(content));
    }
    const kept = [];
    for await (const blob of registry.blobs.list()) kept.push(blob.size);
    expect(kept).toEqual([content.length]);
    expect(await recordsOf(registry.meta, "trash!")).toEqual([]);
    expect(await uploadsOf(registry.blobs)).toEqual([]);
  });
}

test("fifty tags pushed at once are all there", async () => {
  await using registry = await openInProcess();
  await pushBlob(registry.handle, "a", EMPTY_JSON);
  const text = (i: number): string => imageOf([], { annotations: { i: `${i % 7}` } });
  await Promise.all(MANY.map(async (i) => pushManifest(registry.handle, "a", `v${i}`, text(i))));
  expect(await tagsOf(registry.handle, "a")).toEqual(MANY.map((i) => `v${i}`).sort());
  for (const i of MANY) {
    expect(await (await registry.handle(`/v2/a/manifests/v${i}`)).text()).toBe(text(i));
  }
});

test("fifty different manifests pushed to one tag at once: one stands, the history has all", async () => {
  await using registry = await openInProcess();
  await pushBlob(registry.handle, "a", EMPTY_JSON);
  const texts = MANY.map((i) => imageOf([], { annotations: { i: `${i}` } }));
  await Promise.all(texts.map(async (text) => pushManifest(registry.handle, "a", "v1", text)));
  const last = await (await registry.handle("/v2/a/manifests/v1")).text();
  expect(texts).toContain(last);
  const history = await recordsOf(registry.meta, "history!a!v1!");
  const moves = history.map(({ value }) => value as { from?: string; to: string });
  expect(new Set(moves.map(({ to }) => to)).size).toBe(50);
  // Each move starts where the one before it ended: none was lost.
  expect(moves.map(({ from }) => from)).toEqual([
    undefined,
    ...moves.slice(0, -1).map(({ to }) => to),
  ]);
  expect(moves.at(-1)?.to).toBe(digestOf(last));
  for (const text of texts) {
    expect((await registry.handle(`/v2/a/manifests/${digestOf(text)}`)).status).toBe(200);
  }
});

test("whole images pushed and pulled at once are whole", async () => {
  await using registry = await openInProcess();
  await Promise.all(
    MANY.map(async (i) => {
      const image = await pushImage(registry.handle, `r${i % 10}`, `v${i}`);
      const pulled = await registry.handle(`/v2/r${i % 10}/manifests/v${i}`);
      expect(await pulled.text()).toBe(image.text);
      expect((await registry.handle(`/v2/r${i % 10}/blobs/${image.layer}`)).status).toBe(200);
    }),
  );
});

test("a deleted manifest that is pushed again from many sides lives", async () => {
  await using registry = await openInProcess();
  const { text, digest } = await pushImage(registry.handle, "a", "v0");
  for (let round = 0; round < 10; round++) {
    await registry.handle(`/v2/a/manifests/${digest}`, { method: "DELETE" });
    await Promise.all(
      [1, 2, 3, 4, 5].map(async (i) => pushManifest(registry.handle, "a", `v${i}`, text)),
    );
    expect(await tagsOf(registry.handle, "a")).toEqual(["v1", "v2", "v3", "v4", "v5"]);
  }
});
