/** `holdfast verify` on a bucket whose node was killed in the middle of a push, and whose disk is gone. */
import { expect, test } from "bun:test";
import { mkdtempSync, rmSync, utimesSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { S3Client } from "../../src/blobs/s3/client.ts";
import { collected, failureOf } from "../../src/blobs/conformance-tools.ts";
import { describeWith } from "../clients/support/tools.ts";
import { runHoldfast } from "../support/failed-start.ts";
import { bytesOf } from "../support/push.ts";
import { startS3Proxy } from "../support/s3-proxy.ts";
import { startServer } from "../support/server.ts";
import { bucketEnv } from "../support/shared-place.ts";
import { startVersitygw } from "../support/versitygw.ts";
import { digestAt, pushBlob, pushImage } from "./support/api.ts";

const SIZE = 9_000_000;
const DAY_MS = 86_400_000;

describeWith(["versitygw"], "verify", () => {
  test("finds bytes without a marker, and removes them only when they are old", async () => {
    await using server = await startVersitygw();
    await server.createBucket("images");
    using proxy = await startS3Proxy(server.endpoint);
    const env = bucketEnv({ ...server, endpoint: proxy.endpoint }, "images", "p/");
    const client = new S3Client({ ...server, bucket: "images", prefix: "p/", credentials: server });
    const keys = async (): Promise<string[]> =>
      (await collected(client.listAll("data/"))).map(({ key }) => key);

    await using node = await startServer({ workers: 1, env });
    const known = await pushImage(node, "known", "v1", bytesOf(1, SIZE));
    const before = await keys();
    let killed: Promise<void> | undefined;
    proxy.judge = (request) => {
      if (!/^PUT \S*\/large\//.test(request)) return "pass";
      killed ??= node.kill();
      return "cut";
    };
    expect(await failureOf(pushBlob(node, "known", bytesOf(2, SIZE)))).toBeDefined();
    await killed;
    proxy.judge = () => "pass";
    const [crashed = "", ...others] = (await keys()).filter((key) => !before.includes(key));
    expect(others).toEqual([]);

    const data = mkdtempSync(join(tmpdir(), "holdfast-verify-"));
    const grace: Record<string, string> = {};
    const verify = async (
      ...more: string[]
    ): Promise<{ readonly code: number | null; readonly lines: string[] }> => {
      const args = ["verify", "--data", data, ...more];
      // The first time it waits to see whether the owner of the bucket still lives.
      const { code, stdout } = await runHoldfast(args, {
        env: { ...env, ...grace },
        timeout: 60_000,
      });
      // Between them are the lines of the log.
      return { code, lines: stdout.split("\n").filter((line) => !/^(?:\{.*)?$/.test(line)) };
    };
    const line = `ownerless bytes: ${crashed} (${SIZE} bytes)`;
    const count = `Ownerless bytes: 1 found, ${SIZE} bytes in all.`;
    const agree = "Metadata and stored bytes agree.";
    expect(await verify("--repair")).toEqual({
      code: 0,
      lines: [
        `${line} → younger than uploads.expiry or collection.grace: the server removes them later`,
        count,
        agree,
      ],
    });
    expect((await keys()).toSorted()).toEqual([...before, crashed].sort());

    const old = new Date(Date.now() - 2 * DAY_MS);
    for (const key of await keys()) utimesSync(join(server.directory, "images/p", key), old, old);
    // A rebuild of a later time than the present state's would need them.
    grace["HOLDFAST_COLLECTION_GRACE"] = "3d";
    expect((await verify("--repair")).lines[0]).toStartWith(`${line} → younger than`);
    delete grace["HOLDFAST_COLLECTION_GRACE"];
    const found = await verify();
    expect(found).toMatchObject({ code: 1, lines: [line, count, expect.stringContaining("1 ")] });
    expect(await keys()).toContain(crashed);
    expect(await verify("--repair")).toEqual({
      code: 0,
      lines: [`${line} → removed`, count, "1 disagreements, all mended."],
    });
    expect(await verify()).toEqual({ code: 0, lines: [agree] });
    expect(await keys()).toEqual(before);

    await using next = await startServer({ workers: 1, env, patience: 60_000 });
    expect(await digestAt(next, `/v2/known/blobs/${known.layer}`)).toBe(known.layer);
    rmSync(data, { recursive: true });
  }, 180_000);
});
