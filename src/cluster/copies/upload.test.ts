import { afterEach, describe, expect, test } from "bun:test";
import {
  bodyOf,
  digestOf,
  failureOf,
  newId,
  randomBytes,
  uploaded,
  writeAll,
} from "../../blobs/conformance-tools.ts";
import {
  BlobStoreUnavailable,
  DigestMismatch,
  type BlobStore,
  type StoredBlob,
} from "../../blobs/port.ts";
import { eventually, TestCluster, type ClusterOptions } from "./copies-fixture.ts";
import { slowLink } from "./slow-link-fixture.ts";

const MIB = 1 << 20;

describe("an upload in a cluster", () => {
  let cluster: TestCluster;
  /** What the peer ports were asked: `n2 PATCH /v1/uploads`. */
  let asked: string[] = [];
  const open = async (options: ClusterOptions = {}): Promise<BlobStore> => {
    asked = [];
    cluster = await TestCluster.open({
      before: (node, request) => {
        const [, , kind] = new URL(request.url).pathname.split("/");
        asked.push(`${node} ${request.method} ${kind}`);
        return undefined;
      },
      ...options,
    });
    return cluster.node(0).open();
  };
  afterEach(() => cluster.close());

  const holdersOf = ({ locator }: StoredBlob): string[] =>
    cluster.nodes.filter((node) => node.files().has(locator)).map(({ name }) => name);
  const filesLeft = (): string[] =>
    cluster.nodes.flatMap((node) => [...node.files().keys()].map((path) => `${node.name} ${path}`));

  test.each([0, 5, 65_537, 5_000_000, 64 * MIB])(
    "of %d bytes is the same file on all nodes, streamed once",
    async (size) => {
      const store = await open();
      const bytes = randomBytes(size);
      const upload = await store.upload(newId(), "sha256");
      await writeAll(upload, bytes, 100_000);
      const blob = await upload.commit(digestOf(bytes));
      await eventually(() => holdersOf(blob).length === 3, 20_000);
      for (const node of cluster.nodes) {
        expect([...node.files().keys()]).toEqual([blob.locator]);
        expect(node.files().get(blob.locator)?.equals(bytes)).toBe(true);
      }
      expect(asked.filter((text) => text.includes("PUT"))).toEqual([]);
    },
  );

  test("is durable on as many nodes as are wanted when commit resolves", async () => {
    const store = await open({ durable: 3 });
    const bytes = randomBytes(300_000);
    const upload = await store.upload(newId(), "sha256");
    await upload.write(bytes.slice());
    const blob = await upload.commit(digestOf(bytes));
    expect(holdersOf(blob)).toEqual(["n1", "n2", "n3"]);
  });

  test("goes on in another process, shadows and all", async () => {
    const store = await open();
    const other = await cluster.node(0).open();
    const bytes = randomBytes(600_000);
    const id = newId();
    await uploaded(store, id, bytes.subarray(0, 200_000));
    await uploaded(other, id, bytes.subarray(200_000, 400_001));
    const proven = await uploaded(store, id, bytes.subarray(400_001));
    const blob = await (await other.upload(id, "sha256")).commit(proven.digest, proven);
    await eventually(() => holdersOf(blob).length === 3);
    expect(cluster.node(2).files().get(blob.locator)?.equals(bytes)).toBe(true);
    expect(asked.filter((text) => text.includes("PUT"))).toEqual([]);
    expect(asked.filter((text) => text === "n2 PATCH uploads").length).toBe(3);
  });

  test("gets another locator when its session is used again", async () => {
    const store = await open();
    const bytes = randomBytes(100);
    const id = newId();
    const blobs: StoredBlob[] = [];
    for (let i = 0; i < 20; i++) {
      const upload = await store.upload(id, "sha256");
      await upload.write(bytes.slice());
      blobs.push(await upload.commit(digestOf(bytes)));
    }
    expect(new Set(blobs.map(({ locator }) => locator)).size).toBe(20);
  });

  test("is placed where it is received", async () => {
    await open({ names: ["n1", "n2", "n3", "n4", "n5"], copies: 2 });
    for (const node of cluster.nodes) {
      const store = await node.open();
      const bytes = randomBytes(10);
      const blob = await store.put(digestOf(bytes), bytes);
      await eventually(() => holdersOf(blob).length === 2);
      expect(holdersOf(blob)).toContain(node.name);
    }
  });

  test("outlives a peer that dies", async () => {
    const store = await open();
    const bytes = randomBytes(20 * MIB);
    const upload = await store.upload(newId(), "sha256");
    await writeAll(upload, bytes.subarray(0, 6 * MIB), MIB);
    await cluster.node(1).stop();
    await writeAll(upload, bytes.subarray(6 * MIB), MIB);
    const blob = await upload.commit(digestOf(bytes));
    expect(cluster.node(2).files().get(blob.locator)?.equals(bytes)).toBe(true);
    expect((await bodyOf(store, blob)).byteLength).toBe(20 * MIB);
  });

  test("is sent whole to a peer that is back when another one dies", async () => {
    const store = await open();
    const bytes = randomBytes(3 * MIB);
    const upload = await store.upload(newId(), "sha256");
    await writeAll(upload, bytes.subarray(0, MIB), 100_000);
    await cluster.node(1).stop();
    await writeAll(upload, bytes.subarray(MIB), 100_000);
    await cluster.node(1).start();
    await cluster.node(2).stop();
    const blob = await upload.commit(digestOf(bytes));
    expect(cluster.node(1).files().get(blob.locator)?.equals(bytes)).toBe(true);
    expect(asked).toContain("n2 PUT blobs");
  });

  test.each([true, false])("comes to nothing when all peers die (known: %p)", async (isKnown) => {
    const store = await open();
    const upload = await store.upload(newId(), "sha256");
    const bytes = randomBytes(2 * MIB);
    await writeAll(upload, bytes, 300_000);
    for (const node of [cluster.node(1), cluster.node(2)]) {
      await node.stop();
      if (isKnown) node.say({ isLive: false });
    }
    const began = performance.now();
    const failure = await failureOf(upload.commit(digestOf(bytes)));
    expect(performance.now() - began).toBeLessThan(2000);
    expect(failure).toBeInstanceOf(BlobStoreUnavailable);
    expect(String(failure)).toMatch(/only 1 of the 2 copies .* n2: .* n3: /);
    expect([...cluster.node(0).files().keys()]).toEqual([]);
    expect(filesLeft().filter((path) => path.includes("blobs/"))).toEqual([]);
    for (const node of [cluster.node(1), cluster.node(2)]) await node.start();
    const again = await store.upload(newId(), "sha256");
    await again.write(bytes.slice());
    expect(holdersOf(await again.commit(digestOf(bytes))).length).toBeGreaterThanOrEqual(2);
  });

  test("keeps nothing anywhere of a wrong digest, an abort, a discard", async () => {
    const store = await open();
    const bytes = randomBytes(MIB);
    const wrong = await store.upload(newId(), "sha256");
    await writeAll(wrong, bytes, 100_000);
    expect(await failureOf(wrong.commit(digestOf(randomBytes(3))))).toBeInstanceOf(DigestMismatch);
    expect(filesLeft()).toEqual([]);
    const aborted = await store.upload(newId(), "sha256");
    await writeAll(aborted, bytes, 100_000);
    await aborted.abort();
    expect(filesLeft()).toEqual([]);
    const id = newId();
    await uploaded(store, id, bytes);
    expect(filesLeft().length).toBe(3);
    await store.discard(id);
    expect(filesLeft()).toEqual([]);
  });

  test("does not wait for a slow peer that it does not need, whose bytes do not pile up", async () => {
    const store = await open();
    await using link = await slowLink(`127.0.0.1:${cluster.node(2).port}`, 500_000);
    cluster.node(2).say({ address: link.address });
    const size = 48 * MIB;
    const hasher = new Bun.CryptoHasher("sha256");
    const chunk = randomBytes(256 << 10);
    const upload = await store.upload(newId(), "sha256");
    const began = performance.now();
    for (let sent = 0; sent < size; sent += chunk.byteLength) {
      hasher.update(chunk);
      await upload.write(chunk.slice());
    }
    const blob = await upload.commit(
      `sha256:${hasher.digest("hex")}` as ReturnType<typeof digestOf>,
    );
    expect(performance.now() - began).toBeLessThan(5000);
    expect(holdersOf(blob)).toEqual(["n1", "n2"]);
    expect(link.sent).toBeLessThan(8 * MIB);
  });

  test("waits for a slow peer that it needs, with little in memory", async () => {
    const store = await open({ durable: 3 });
    await using link = await slowLink(`127.0.0.1:${cluster.node(2).port}`, 16 * MIB);
    cluster.node(2).say({ address: link.address });
    const bytes = randomBytes(24 * MIB);
    const upload = await store.upload(newId(), "sha256");
    let ahead = 0;
    for (let sent = 0; sent < bytes.byteLength; sent += MIB) {
      await upload.write(bytes.slice(sent, sent + MIB));
      ahead = Math.max(ahead, sent + MIB - link.sent);
    }
    const blob = await upload.commit(digestOf(bytes));
    expect(holdersOf(blob)).toEqual(["n1", "n2", "n3"]);
    // The queue, one chunk, and what the kernel and TLS keep.
    expect(ahead).toBeLessThan(16 * MIB);
  });

  test("gives up a peer that it needs and that stands still", async () => {
    const store = await open();
    await cluster.node(1).stop();
    cluster.node(1).say({ isLive: false });
    await using link = await slowLink(`127.0.0.1:${cluster.node(2).port}`, 100 * MIB);
    cluster.node(2).say({ address: link.address });
    const upload = await store.upload(newId(), "sha256");
    const bytes = randomBytes(16 * MIB);
    await writeAll(upload, bytes.subarray(0, MIB), MIB);
    link.freeze();
    cluster.node(2).say({ address: `127.0.0.1:${cluster.node(2).port}` });
    await writeAll(upload, bytes.subarray(MIB), MIB);
    const blob = await upload.commit(digestOf(bytes));
    expect(holdersOf(blob)).toEqual(["n1", "n3"]);
  }, 20_000);
});
