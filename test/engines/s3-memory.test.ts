/** What a large body from or to a bucket takes of this process's memory. */
import { expect, test } from "bun:test";
import { newId, randomBytes } from "../../src/blobs/conformance-tools.ts";
import { makeDigest } from "../../src/oci/digest.ts";
import { describeWith } from "../clients/support/tools.ts";
import { optionsOf, VERSITYGW } from "../support/s3-kinds.ts";
import { startS3Proxy } from "../support/s3-proxy.ts";
import { openNodes } from "../support/s3-stores.ts";

const MIB = 1 << 20;
const SIZE = 300;
/** What 300 MiB may add to this process, which also is the slow network: far less than the blob. */
const GROWTH_MAX = 170 * MIB;

/** The growth of this process's memory while the work is done, in bytes. */
async function growth(work: () => Promise<void>): Promise<number> {
  Bun.gc(true);
  const before = process.memoryUsage.rss();
  let peak = before;
  const timer = setInterval(() => (peak = Math.max(peak, process.memoryUsage.rss())), 10);
  await work();
  clearInterval(timer);
  return peak - before;
}

describeWith(VERSITYGW.programs, "memory on S3", () => {
  test("300 MiB go to a slow store in little memory, and come back to a slow reader", async () => {
    await using place = await VERSITYGW.open();
    using proxy = await startS3Proxy(place.endpoint);
    const nodes = openNodes({ ...optionsOf(place), endpoint: proxy.endpoint });
    const store = await nodes.node("a");
    const chunk = randomBytes(MIB);
    const hasher = new Bun.CryptoHasher("sha256");
    for (let i = 0; i < SIZE; i++) hasher.update(chunk);
    const digest = makeDigest("sha256", hasher.digest("hex"));

    proxy.rate = 50e6;
    const upload = await store.upload(newId(), "sha256");
    const push = await growth(async () => {
      for (let i = 0; i < SIZE; i++) await upload.write(chunk.slice());
    });
    const { locator, size } = await upload.commit(digest);
    expect(push).toBeLessThan(GROWTH_MAX);
    proxy.rate = Infinity;

    let got = 0;
    const pull = await growth(async () => {
      const body = await store.open(locator, size);
      if (!(body instanceof ReadableStream)) throw new Error("a stream was expected");
      const hash = new Bun.CryptoHasher("sha256");
      for await (const piece of body) {
        hash.update(piece);
        // About 60 MB/s.
        if (Math.floor((got + piece.byteLength) / MIB) > Math.floor(got / MIB)) await Bun.sleep(16);
        got += piece.byteLength;
      }
      expect(hash.digest("hex")).toBe(digest.slice(7));
    });
    expect(got).toBe(SIZE * MIB);
    expect(pull).toBeLessThan(GROWTH_MAX);
    await nodes.close();
  }, 120_000);
});
