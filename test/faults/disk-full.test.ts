/** No room left in the middle of an upload: a clear answer, nothing lost, and work again once there is room. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { bytesOf, imageManifest, pushBlob, pushManifest, sha256 } from "../support/push.ts";
import { startServer, type TestServer } from "../support/server.ts";

const MIB = 1024 * 1024;
const mayMount = process.getuid?.() === 0;
const suite = mayMount || process.env["CI"] ? describe : describe.skip;

suite("a full disk (needs root, to mount a small tmpfs)", () => {
  const dir = mkdtempSync(join(tmpdir(), "holdfast-full-"));
  let server: TestServer;

  function mount(...args: string[]): void {
    const { exitCode, stderr } = Bun.spawnSync(["mount", "-t", "tmpfs", ...args, "tmpfs", dir]);
    if (exitCode !== 0) throw new Error(stderr.toString());
  }

  beforeAll(async () => {
    mount("-o", "size=24m");
    server = await startServer({ workers: 2, data: join(dir, "data") });
  });
  afterAll(async () => {
    await server.stop();
    Bun.spawnSync(["umount", dir]);
    rmSync(dir, { recursive: true });
  });

  async function put(seed: number, size: number): Promise<Response> {
    const bytes = bytesOf(seed, size);
    const opened = await fetch(`${server.url}/v2/full/blobs/uploads/`, { method: "POST" });
    await opened.text();
    const location = opened.headers.get("location") ?? "";
    const target = `${server.url}${location}?digest=${sha256(bytes)}`;
    return fetch(target, { method: "PUT", body: bytes });
  }

  async function expectRefused(answer: Response): Promise<void> {
    expect(answer.status).toBe(507);
    const body = (await answer.json()) as { errors: { code: string; message: string }[] };
    expect(body.errors[0]?.code).toBe("INSUFFICIENT_STORAGE");
    expect(body.errors[0]?.message).toContain("full");
  }

  test("is told as 507, keeps what is there, and heals with room", async () => {
    const kept = bytesOf(1, 4 * MIB);
    await pushBlob(server.url, "full", kept);
    const manifest = imageManifest({
      config: { digest: sha256(kept), size: kept.length },
      layers: [],
    });
    await pushManifest(server.url, "full", "v1", manifest);

    // Beyond the room there is: whole, then in one PATCH without a length.
    await expectRefused(await put(2, 40 * MIB));
    const opened = await fetch(`${server.url}/v2/full/blobs/uploads/`, { method: "POST" });
    await opened.text();
    const location = opened.headers.get("location") ?? "";
    let sent = 0;
    const endless = new ReadableStream<Uint8Array>({
      pull(controller) {
        if (sent++ >= 40) controller.close();
        else controller.enqueue(bytesOf(sent, MIB));
      },
    });
    await expectRefused(
      await fetch(`${server.url}${location}`, { method: "PATCH", body: endless }),
    );

    // What was acknowledged is still served, and the failed uploads have given their room back.
    const blob = await fetch(`${server.url}/v2/full/blobs/${sha256(kept)}`);
    expect(new Uint8Array(await blob.arrayBuffer())).toEqual(kept);
    const tag = await fetch(`${server.url}/v2/full/manifests/v1`);
    expect(await tag.text()).toBe(manifest);
    expect((await put(3, 2 * MIB)).status).toBe(201);

    // Small things fail just as clearly when not even they fit.
    const filler: number[] = [];
    for (let seed = 100; seed < 400; seed++) {
      const answer = await put(seed, 256 * 1024);
      if (answer.status !== 201) {
        await expectRefused(answer);
        break;
      }
      await answer.text();
      filler.push(seed);
    }
    expect(filler.length).toBeGreaterThan(3);
    expect(filler.length).toBeLessThan(300);
    expect((await fetch(`${server.url}/v2/`)).status).toBe(200);

    mount("-o", "remount,size=96m");
    expect((await put(4, 8 * MIB)).status).toBe(201);
    await pushManifest(server.url, "full", "v2", `${manifest} `);
    for (const seed of filler) {
      const answer = await fetch(
        `${server.url}/v2/full/blobs/${sha256(bytesOf(seed, 256 * 1024))}`,
      );
      expect(new Uint8Array(await answer.arrayBuffer())).toEqual(bytesOf(seed, 256 * 1024));
    }
  });
});
