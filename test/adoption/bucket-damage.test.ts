import { expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describeWith } from "../clients/support/tools.ts";
import { bytesOf, pushBlob, sha256 } from "../support/push.ts";
import { startServer } from "../support/server.ts";
import { bucketPlace } from "./support/bucket-place.ts";
import { ForeignFiles } from "./support/foreign-files.ts";
import { adopted } from "./support/status.ts";

const SMALL = 1000;
const MIDDLE = 1024 * 1024;
const LARGE = 17 * 1024 * 1024;

function flip(path: string): void {
  const bytes = readFileSync(path);
  bytes[bytes.length - 1] = (bytes[bytes.length - 1] ?? 0) ^ 1;
  writeFileSync(path, bytes);
}

interface Got {
  readonly status: number;
  readonly location: string | null;
  /** `undefined` when the body does not arrive whole. */
  readonly bytes: Uint8Array | undefined;
}

async function pull(url: string, headers: Record<string, string> = {}): Promise<Got> {
  const answer = await fetch(url, { headers, redirect: "manual" });
  const { status } = answer;
  const location = answer.headers.get("location");
  try {
    return { status, location, bytes: await answer.bytes() };
  } catch {
    return { status, location, bytes: undefined };
  }
}

describeWith(["versitygw"], "blobs that distribution left in a bucket, with redirects", () => {
  test("leave past us only when they are checked; damaged ones never whole, and a push heals them", async () => {
    await using here = await bucketPlace("x/");
    const files = new ForeignFiles(here.files);
    const images = [SMALL, MIDDLE, LARGE].map((size, i) => {
      const bytes = bytesOf(i + 1, size);
      return { bytes, ...files.image(`r${i}`, "1", bytes) };
    });
    const sound = [MIDDLE, LARGE].map((size, i) =>
      files.image(`sound${i}`, "1", bytesOf(i + 7, size)),
    );
    for (const { layer } of images) flip(files.blobPath(layer));
    const config = join(here.home, "config.yml");
    await Bun.write(config, here.config("127.0.0.1:1", { redirect: true }));
    await using server = await startServer({ args: ["--config", config] });
    await adopted(server.data);

    for (const [i, { layer, bytes }] of images.entries()) {
      const url = `${server.url}/v2/r${i}/blobs/${layer}`;
      for (const attempt of ["first", "second"]) {
        const got = await pull(url);
        const large = bytes.length === LARGE && attempt === "first";
        expect([attempt, bytes.length, got.status]).toEqual([
          attempt,
          bytes.length,
          large ? 200 : 404,
        ]);
        if (large) expect(got.bytes === undefined || got.bytes.length < LARGE).toBe(true);
      }
      expect((await fetch(url, { method: "HEAD" })).status).toBe(404);
    }
    expect(server.logs()).toContain("not the content");

    for (const [i, { layer }] of sound.entries()) {
      const url = `${server.url}/v2/sound${i}/blobs/${layer}`;
      // A part is as good as the whole: both are checked on their first way out, and go elsewhere from then on.
      const first = await pull(url, i === 0 ? { range: "bytes=5-9" } : {});
      expect(first.location).toBeNull();
      if (i === 0) expect(first.bytes).toEqual(bytesOf(7, MIDDLE).slice(5, 10));
      else expect(sha256(first.bytes ?? "")).toBe(layer);
      const second = await pull(url);
      expect(second.status).toBe(307);
      expect(second.location).toStartWith(`${here.s3.endpoint}/images/x/docker/registry/v2/blobs/`);
      const there = await fetch(second.location ?? "");
      expect(sha256(await there.bytes())).toBe(layer);
    }
    expect(here.ownBlobs()).toEqual([]);

    for (const [i, { bytes, layer }] of images.entries()) {
      await pushBlob(server.url, `r${i}`, bytes);
      const healed = await fetch(`${server.url}/v2/r${i}/blobs/${layer}`);
      expect(sha256(await healed.bytes())).toBe(layer);
      // What distribution wrote stays as it was, for whoever goes back.
      expect(sha256(readFileSync(files.blobPath(layer)))).not.toBe(layer);
    }
    expect(here.ownBlobs().length).toBeGreaterThanOrEqual(images.length);
  }, 120_000);
});
