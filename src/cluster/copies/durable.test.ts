import { afterEach, describe, expect, test } from "bun:test";
import fs from "node:fs";
import { join } from "node:path";
import { digestOf, randomBytes } from "../../blobs/conformance-tools.ts";
import type { BlobStore, StoredBlob } from "../../blobs/port.ts";
import { eventually, TestCluster, type ClusterOptions } from "./copies-fixture.ts";

describe("a blob of a cluster is durable", () => {
  let cluster: TestCluster;
  afterEach(() => cluster.close());

  const lose = (index: number, { locator }: StoredBlob): void =>
    fs.rmSync(join(cluster.node(index).directory, locator));

  const push = async (options: ClusterOptions = {}): Promise<[BlobStore, StoredBlob]> => {
    cluster = await TestCluster.open(options);
    const store = await cluster.node(0).open();
    const bytes = randomBytes(1000);
    const blob = await store.put(digestOf(bytes), bytes);
    const { locator } = blob;
    await eventually(() => cluster.nodes.every((node) => node.files().has(locator)));
    return [store, blob];
  };

  test("while as many copies are left as a push waits for, wherever they are", async () => {
    const [store, blob] = await push();
    const isDurable = () => store.isDurable?.(blob.locator, blob.size);
    expect(await isDurable()).toBe(true);
    lose(0, blob);
    expect(await isDurable()).toBe(true);
    lose(1, blob);
    expect(await store.stat(blob.locator)).toBe(blob.size);
    expect(await isDurable()).toBe(false);
    lose(2, blob);
    expect(await isDurable()).toBe(false);
  });

  test("while nodes that do not say so have the file, but not where they cannot make it durable", async () => {
    let status: number | undefined;
    const [store, blob] = await push({
      before: async (_, { method, url }) =>
        method === "POST" && url.includes("?size=") && status !== undefined
          ? new Response(null, { status })
          : undefined,
    });
    const isDurable = () => store.isDurable?.(blob.locator, blob.size);
    lose(0, blob);
    for (const [answer, durable] of [
      [undefined, true],
      [405, true],
      [500, false],
    ] as const) {
      status = answer;
      expect([answer, await isDurable()]).toEqual([answer, durable]);
    }
    status = 405;
    lose(1, blob);
    expect(await isDurable()).toBe(false);
  });

  test("not by copies on nodes that are dead, or of another size", async () => {
    const [store, blob] = await push();
    const isDurable = () => store.isDurable?.(blob.locator, blob.size);
    await cluster.node(2).stop();
    expect(await isDurable()).toBe(true);
    fs.truncateSync(join(cluster.node(1).directory, blob.locator), 10);
    expect(await isDurable()).toBe(false);
  });
});
