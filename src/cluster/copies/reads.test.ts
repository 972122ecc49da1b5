import { afterEach, describe, expect, test } from "bun:test";
import fs from "node:fs";
import { dirname, join } from "node:path";
import { bodyOf, digestOf, failureOf, randomBytes } from "../../blobs/conformance-tools.ts";
import { BlobStoreUnavailable, type BlobStore, type StoredBlob } from "../../blobs/port.ts";
import { eventually, TestCluster, type ClusterOptions } from "./copies-fixture.ts";
import { slowLink } from "./slow-link-fixture.ts";

const MIB = 1 << 20;

describe("a blob in a cluster", () => {
  let cluster: TestCluster;
  /** Nodes whose peer ports were asked for a blob, in order, and those whose callers went away. */
  let asked: string[] = [];
  let left: string[] = [];
  const open = async (options: ClusterOptions = {}): Promise<BlobStore> => {
    [asked, left] = [[], []];
    cluster = await TestCluster.open({
      before: (node, request) => {
        if (request.method !== "GET") return undefined;
        asked.push(node);
        request.signal.addEventListener("abort", () => left.push(node));
        return undefined;
      },
      ...options,
    });
    return cluster.node(0).open();
  };
  afterEach(() => cluster.close());

  /** A blob that all nodes have but for the first. */
  const elsewhere = async (
    store: BlobStore,
    bytes: Uint8Array<ArrayBuffer>,
  ): Promise<StoredBlob> => {
    const blob = await store.put(digestOf(bytes), bytes);
    const others = cluster.nodes.slice(1);
    await eventually(() =>
      others.every((node) => fs.existsSync(join(node.directory, blob.locator))),
    );
    fs.rmSync(join(cluster.node(0).directory, blob.locator));
    return blob;
  };
  const nodeNamed = (name: string | undefined) => {
    const found = cluster.nodes.find((node) => node.name === name);
    if (found === undefined) throw new Error(`no node ${name}`);
    return found;
  };

  test("is read through from a holder, whole and in parts, and said to be missing here", async () => {
    const store = await open();
    for (const size of [0, 1, 300_000, 5 * MIB]) {
      const bytes = randomBytes(size);
      const blob = await elsewhere(store, bytes);
      expect(await store.stat(blob.locator)).toBe(size);
      expect(await bodyOf(store, blob)).toEqual(bytes);
      expect(await store.read(blob.locator, size)).toEqual(bytes);
      for (const [start, end] of [
        [0, 0],
        [0, size - 1],
        [size >> 1, size - 1],
        [size >> 2, size >> 1],
      ] as const) {
        if (end >= size) continue;
        const body = await store.open(blob.locator, size, { start, end });
        expect(await new Response(body).bytes()).toEqual(bytes.slice(start, end + 1));
      }
      expect(await store.open(blob.locator, size + 1)).toBeUndefined();
      expect(new Set(cluster.node(0).missing)).toEqual(new Set([blob.locator]));
      cluster.node(0).missing.length = 0;
    }
  });

  test("is not missing on a node that need not hold it", async () => {
    const store = await open({ names: ["n1", "n2", "n3", "n4"], copies: 2 });
    const bytes = randomBytes(1000);
    const blob = await store.put(digestOf(bytes), bytes);
    for (const node of cluster.nodes) {
      expect(await bodyOf(await node.open(), blob)).toEqual(bytes);
      expect(node.missing).toEqual([]);
    }
  });

  test("comes whole though its holder dies in the middle", async () => {
    const store = await open();
    const bytes = randomBytes(48 * MIB);
    const blob = await elsewhere(store, bytes);
    for (const span of [undefined, { start: 1000, end: 40 * MIB }]) {
      asked = [];
      const body = await store.open(blob.locator, blob.size, span);
      if (!(body instanceof ReadableStream)) throw new Error("not a stream");
      const parts: Uint8Array[] = [];
      for await (const chunk of body) {
        parts.push(chunk);
        if (parts.length === 3) await nodeNamed(asked[0]).stop();
      }
      const wanted = span ? bytes.subarray(span.start, span.end + 1) : bytes;
      expect(Buffer.concat(parts).equals(wanted)).toBe(true);
      expect(new Set(asked).size).toBe(2);
      await nodeNamed(asked[0]).start();
    }
  });

  test("breaks off, and does not end, when the last holder dies", async () => {
    const store = await open();
    const blob = await elsewhere(store, randomBytes(48 * MIB));
    const body = await store.open(blob.locator, blob.size);
    if (!(body instanceof ReadableStream)) throw new Error("not a stream");
    const reader = body.getReader();
    await reader.read();
    await Promise.all([cluster.node(1).stop(), cluster.node(2).stop()]);
    const drained = (async () => {
      while (!(await reader.read()).done);
    })();
    expect(await failureOf(drained)).toBeInstanceOf(BlobStoreUnavailable);
  });

  test("is drawn only as fast as it is read, and no more once the reader has gone", async () => {
    const store = await open();
    const blob = await elsewhere(store, randomBytes(64 * MIB));
    const links = await Promise.all(
      [cluster.node(1), cluster.node(2)].map(async (node) => {
        const link = await slowLink(`127.0.0.1:${node.port}`, 400 * MIB);
        node.say({ address: link.address });
        return link;
      }),
    );
    const body = await store.open(blob.locator, blob.size);
    if (!(body instanceof ReadableStream)) throw new Error("not a stream");
    const reader = body.getReader();
    await reader.read();
    await Bun.sleep(500);
    expect(links.reduce((sum, { received }) => sum + received, 0)).toBeLessThan(32 * MIB);
    expect(left).toEqual([]);
    await reader.cancel();
    await eventually(() => left.length === 1);
    for (const link of links) await link[Symbol.asyncDispose]();
  });

  test("is never served with wrong bytes that a peer has, where it is small", async () => {
    const store = await open();
    const bytes = randomBytes(2000);
    const blob = await elsewhere(store, bytes);
    const damage = (index: number): void => {
      fs.writeFileSync(join(cluster.node(index).directory, blob.locator), randomBytes(2000));
    };
    const read = () => store.read(blob.locator, 2000);
    expect(await read()).toEqual(bytes);
    damage(asked[0] === "n2" ? 1 : 2);
    expect(await read()).toEqual(bytes);
    damage(asked[0] === "n2" ? 2 : 1);
    expect(await read()).toBeUndefined();
  });

  test("is taken from another node where one has it cut short", async () => {
    const store = await open();
    const bytes = randomBytes(200_000);
    const blob = await elsewhere(store, bytes);
    await bodyOf(store, blob);
    fs.truncateSync(join(nodeNamed(asked[0]).directory, blob.locator), 1000);
    expect(await bodyOf(store, blob)).toEqual(bytes);
  });

  test("is gone when all nodes say so, and unavailable while one cannot be asked", async () => {
    const store = await open();
    const bytes = randomBytes(100);
    const { locator, size } = await elsewhere(store, bytes);
    const calls = () => [store.stat(locator), store.open(locator, size), store.read(locator, size)];
    await cluster.node(1).stop();
    for (const call of calls()) expect(await call).toBeDefined();
    await cluster.node(2).local.delete(locator);
    for (const call of calls()) expect(await failureOf(call)).toBeInstanceOf(BlobStoreUnavailable);
    await cluster.node(1).start();
    for (const call of calls()) expect(await call).toBeDefined();
    await cluster.node(1).local.delete(locator);
    for (const call of calls()) expect(await call).toBeUndefined();
  });

  test("is read from another node where the own disk fails, and not gone where no other has it", async () => {
    const store = await open();
    const bytes = randomBytes(2000);
    const { locator, size } = await elsewhere(store, bytes);
    const directory = dirname(join(cluster.node(0).directory, locator));
    fs.rmSync(directory, { recursive: true, force: true });
    // A damaged file system, as good as one can be made here: ELOOP.
    fs.symlinkSync(directory, directory);
    expect(await failureOf(store.delete(locator))).toBeInstanceOf(Error);
    for (const node of cluster.nodes.slice(1)) await node.local.place(locator, bytes);
    expect(await store.stat(locator)).toBe(size);
    expect(await bodyOf(store, { locator, size })).toEqual(bytes);
    expect(await store.read(locator, size)).toEqual(bytes);
    for (const node of cluster.nodes.slice(1)) await node.local.delete(locator);
    for (const look of [() => store.stat(locator), () => store.open(locator, size)])
      expect(String(await failureOf(look()))).toContain("ELOOP");
    fs.rmSync(directory);
  });

  test("is known to be there though a node hangs", async () => {
    const hanging = Promise.withResolvers<undefined>();
    const store = await open({
      before: (node, request) =>
        node === "n3" && request.method === "HEAD" ? hanging.promise : undefined,
    });
    const { locator } = await elsewhere(store, randomBytes(100));
    const began = performance.now();
    expect(await store.stat(locator)).toBe(100);
    expect(performance.now() - began).toBeLessThan(1000);
    hanging.resolve(undefined);
  });

  test("is read from nodes that are taken for dead and are not", async () => {
    const store = await open();
    const bytes = randomBytes(100);
    const blob = await elsewhere(store, bytes);
    for (const node of cluster.nodes) node.say({ isLive: false });
    expect(await bodyOf(store, blob)).toEqual(bytes);
    expect(await store.stat(blob.locator)).toBe(100);
  });

  test.each([true, false])(
    "is deleted everywhere, once all nodes can be reached (dead known: %p)",
    async (isKnown) => {
      const store = await open();
      const bytes = randomBytes(100);
      const blob = await store.put(digestOf(bytes), bytes);
      await eventually(() => cluster.nodes.every((node) => node.files().has(blob.locator)));
      await cluster.node(2).stop();
      if (isKnown) cluster.node(2).say({ isLive: false });
      const failure = await failureOf(store.delete(blob.locator));
      expect(failure).toBeInstanceOf(BlobStoreUnavailable);
      expect(String(failure)).toContain("n3: ");
      expect(cluster.nodes.map((node) => node.files().has(blob.locator))).toEqual([
        false,
        false,
        true,
      ]);
      await cluster.node(2).start();
      await store.delete(blob.locator);
      expect(cluster.node(2).files().size).toBe(0);
      expect(await store.stat(blob.locator)).toBeUndefined();
    },
  );
});
