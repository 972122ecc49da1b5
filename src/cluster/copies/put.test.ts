import { afterEach, describe, expect, test } from "bun:test";
import { digestOf, failureOf, randomBytes } from "../../blobs/conformance-tools.ts";
import { BlobStoreUnavailable, type StoredBlob } from "../../blobs/port.ts";
import { eventually, TestCluster } from "./copies-fixture.ts";

const MIB = 1 << 20;

describe("a small blob put in a cluster", () => {
  let cluster: TestCluster;
  afterEach(() => cluster.close());

  const holdersOf = ({ locator }: StoredBlob): string[] =>
    cluster.nodes.filter((node) => node.files().has(locator)).map(({ name }) => name);

  test.each([0, 1000, 5_000_000])("of %d bytes is the same file on all nodes", async (size) => {
    cluster = await TestCluster.open();
    const store = await cluster.node(0).open();
    const bytes = randomBytes(size);
    const blob = await store.put(digestOf(bytes), bytes);
    expect(holdersOf(blob).length).toBeGreaterThanOrEqual(2);
    await eventually(() => holdersOf(blob).length === 3);
    for (const node of cluster.nodes) {
      expect([...node.files().keys()]).toEqual([blob.locator]);
      expect(node.files().get(blob.locator)?.equals(bytes)).toBe(true);
    }
  });

  test("goes to another live node where one of those that should hold it is dead", async () => {
    cluster = await TestCluster.open({ names: ["n1", "n2", "n3", "n4"], copies: 2, durable: 2 });
    const store = await cluster.node(0).open();
    for (const isKnown of [false, true]) {
      await cluster.node(1).stop();
      if (isKnown) cluster.node(1).say({ isLive: false });
      for (let i = 0; i < 10; i++) {
        const bytes = randomBytes(100);
        expect(holdersOf(await store.put(digestOf(bytes), bytes)).length).toBe(2);
      }
    }
  });

  test("keeps nothing where too few live, and says which", async () => {
    cluster = await TestCluster.open();
    const store = await cluster.node(0).open();
    const [, second, third] = cluster.nodes;
    for (const node of [second, third]) await node?.stop();
    const bytes = randomBytes(100);
    const failure = await failureOf(store.put(digestOf(bytes), bytes));
    expect(failure).toBeInstanceOf(BlobStoreUnavailable);
    expect(String(failure)).toMatch(/only 1 of the 2 copies .* n2: .* n3: /);
    expect(cluster.node(0).files().size).toBe(0);
  });

  test("has as many durable copies as ever while all other nodes drain", async () => {
    cluster = await TestCluster.open();
    const [first, second, third] = cluster.nodes;
    for (const node of [second, third]) node?.say({ draining: true });
    for (const node of [first, second]) {
      const store = await node?.open();
      const bytes = randomBytes(100);
      const blob = await store?.put(digestOf(bytes), bytes);
      expect(blob && holdersOf(blob).length).toBeGreaterThanOrEqual(2);
      const upload = await store?.upload("0123456789abcdef", "sha256");
      await upload?.write(bytes.slice());
      const uploaded = await upload?.commit(digestOf(bytes));
      expect(uploaded && holdersOf(uploaded).length).toBeGreaterThanOrEqual(2);
    }
  });

  test("is put by a node alone where there is no other", async () => {
    cluster = await TestCluster.open({ names: ["n1"] });
    const bytes = randomBytes(100);
    const store = await cluster.node(0).open();
    expect(holdersOf(await store.put(digestOf(bytes), bytes))).toEqual(["n1"]);
  });

  test("does not wait for a node that hangs, nor keep much for it", async () => {
    const hanging = Promise.withResolvers<undefined>();
    let waiting = 0;
    cluster = await TestCluster.open({
      before: (node) => {
        if (node !== "n3") return undefined;
        waiting++;
        return hanging.promise;
      },
    });
    const store = await cluster.node(0).open();
    for (let i = 0; i < 40; i++) {
      const bytes = randomBytes(MIB);
      const blob = await store.put(digestOf(bytes), bytes);
      expect(holdersOf(blob)).toEqual(["n1", "n2"]);
    }
    expect(waiting).toBeLessThanOrEqual(16);
    hanging.resolve(undefined);
  });
});
