import { expect, test } from "bun:test";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { bytesOf, pushBlob, sha256 } from "../support/push.ts";
import { startServer } from "../support/server.ts";
import { ForeignFiles } from "./support/foreign-files.ts";
import { place } from "./support/place.ts";
import { adopt, adopted } from "./support/status.ts";

const SMALL = 1000;
const MIDDLE = 1024 * 1024;
const LARGE = 17 * 1024 * 1024;

function flip(path: string): void {
  const bytes = readFileSync(path);
  bytes[bytes.length - 1] = (bytes[bytes.length - 1] ?? 0) ^ 1;
  writeFileSync(path, bytes);
}

/** The whole body, or `undefined` when it does not arrive whole. */
async function pull(url: string): Promise<{ status: number; bytes: Uint8Array | undefined }> {
  const answer = await fetch(url);
  try {
    return { status: answer.status, bytes: await answer.bytes() };
  } catch {
    return { status: answer.status, bytes: undefined };
  }
}

test("bytes that are not what their digest names are never delivered whole, and a push heals them", async () => {
  using here = place();
  const files = new ForeignFiles(here.data);
  const images = [SMALL, MIDDLE, LARGE].map((size, i) => {
    const bytes = bytesOf(i + 1, size);
    return { bytes, ...files.image(`r${i}`, "1", bytes), whole: false };
  });
  const sound = files.image("sound", "1", bytesOf(9, LARGE));
  for (const { layer } of images) flip(files.blobPath(layer));

  await using server = await startServer({ data: here.data });
  await adopted(here.data);
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
    // A client that asks what it may leave out is told to push it.
    expect((await fetch(url, { method: "HEAD" })).status).toBe(404);
  }
  expect(server.logs()).toContain("not the content");
  const right = await pull(`${server.url}/v2/sound/blobs/${sound.layer}`);
  expect(right.bytes && sha256(right.bytes)).toBe(sound.layer);

  // Damage keeps the old directory.
  const refused = await adopt(here.data, "--finish");
  expect(refused.code).toBe(1);
  expect(refused.stdout).toContain("3 damaged blobs are left");
  for (const { layer } of images) expect(refused.stdout).toContain(`damaged: ${layer}`);
  expect(existsSync(join(here.data, "docker/registry/v2/repositories/r0"))).toBe(true);

  // What is pushed again is healed; the rest has to be given up.
  const [first, second, third] = images;
  await pushBlob(server.url, "r0", first?.bytes ?? new Uint8Array());
  await pushBlob(server.url, "r2", third?.bytes ?? new Uint8Array());
  for (const [name, image] of [
    ["r0", first],
    ["r2", third],
  ] as const) {
    const healed = await pull(`${server.url}/v2/${name}/blobs/${image?.layer}`);
    expect(healed.bytes && sha256(healed.bytes)).toBe(image?.layer ?? "");
  }
  const dropped = await adopt(here.data, "--finish", "--drop-damaged");
  expect(dropped.stdout).toContain(`damaged: ${second?.layer}`);
  expect(dropped.stdout).not.toContain(`damaged: ${first?.layer}`);
  expect(dropped.code).toBe(0);
  expect(existsSync(join(here.data, "docker"))).toBe(false);
  expect((await pull(`${server.url}/v2/r1/blobs/${second?.layer}`)).status).toBe(404);
  await pushBlob(server.url, "r1", second?.bytes ?? new Uint8Array());
  const healed = await pull(`${server.url}/v2/r1/blobs/${second?.layer}`);
  expect(healed.bytes && sha256(healed.bytes)).toBe(second?.layer ?? "");
}, 120_000);
