/** A whole registry on Ceph: pushed to and pulled from by a real client, and rebuilt when its disk is gone. */
import { expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Api } from "../clients/support/api.ts";
import { run } from "../clients/support/command.ts";
import { bigImage, type Sample } from "../clients/support/images.ts";
import { describeWith, findTool, toolPath } from "../clients/support/tools.ts";
import { CEPH } from "../support/s3-kinds.ts";
import { startServer, type TestServer } from "../support/server.ts";
import { bucketEnv } from "../support/shared-place.ts";

const MIB = 1 << 20;

async function crane(home: string, ...args: readonly string[]): Promise<string> {
  const command = [findTool("crane") ?? "crane", ...args, "--insecure"];
  return (await run(command, { env: { PATH: toolPath, HOME: home }, cwd: home })).stdout.trim();
}

describeWith([...CEPH.programs, "crane"], "a node on Ceph", () => {
  test("an image with a 20 MiB layer outlives the disk, also through redirects", async () => {
    await using place = await CEPH.open();
    const home = mkdtempSync(join(tmpdir(), "holdfast-on-ceph-"));
    try {
      const data = join(home, "data");
      const env = bucketEnv(place, place.bucket, "registry/");
      const open = (more: Readonly<Record<string, string>> = {}): Promise<TestServer> =>
        startServer({ workers: 2, data, env: { ...env, ...more }, patience: 60_000 });
      const image = await bigImage(join(home, "image"), 20 * MIB);

      const first = await open();
      await crane(home, "push", image.layout.dir, `${first.host}/ceph/app:v1`);
      await expectPull(home, first, image);
      await first.stop();

      rmSync(data, { recursive: true });
      const second = await open({ HOLDFAST_STORAGE_S3_REDIRECT_ENABLED: "true" });
      expect(second.logs()).toContain("rebuilding the metadata from the journal");
      await expectPull(home, second, image);
      const [layer] = (await new Api(second.url).manifest("ceph/app", "v1")).body.layers ?? [];
      const blob = `${second.url}/v2/ceph/app/blobs/${layer?.digest}`;
      const answer = await fetch(blob, { redirect: "manual" });
      expect(answer.status).toBe(307);
      expect(answer.headers.get("location")).toStartWith(`${place.endpoint}/${place.bucket}/`);
      const range = await fetch(blob, { headers: { range: "bytes=9000000-9000009" } });
      expect(range.status).toBe(206);
      const file = Bun.file(image.layout.blobPath(layer?.digest ?? ""));
      expect(await range.bytes()).toEqual(await file.slice(9_000_000, 9_000_010).bytes());
      // The rebuilt node takes pushes like any other.
      await crane(home, "tag", `${second.host}/ceph/app:v1`, "v2");
      expect(await new Api(second.url).tags("ceph/app")).toEqual(["v1", "v2"]);
      await second.stop();
    } finally {
      rmSync(home, { recursive: true, force: true });
    }
  }, 120_000);
});

/** The client gets every byte, and so does a plain request. */
async function expectPull(home: string, node: TestServer, image: Sample): Promise<void> {
  const back = mkdtempSync(join(home, "back-"));
  await crane(home, "pull", "--format", "oci", `${node.host}/ceph/app:v1`, back);
  const manifest = await new Api(node.url).manifest("ceph/app", "v1");
  expect(manifest.digest).toBe(image.root.digest);
  for (const { digest } of manifest.body.layers ?? []) {
    const [got, sent] = [
      `${back}/blobs/${digest.replace(":", "/")}`,
      image.layout.blobPath(digest),
    ];
    expect(await Bun.file(got).bytes()).toEqual(await Bun.file(sent).bytes());
  }
  expect(await new Api(node.url).verify("ceph/app", "v1")).toBe(image.root.digest);
}
