/** A store that accepts and says nothing is given up in time; one that is slow but moves is waited for. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { failureOf, randomBytes } from "../../src/blobs/conformance-tools.ts";
import { BlobStoreUnavailable } from "../../src/blobs/port.ts";
import { S3Client } from "../../src/blobs/s3/client.ts";
import type { S3Options } from "../../src/blobs/s3/index.ts";
import { describeWith } from "../clients/support/tools.ts";
import { signal } from "../support/processes.ts";
import { S3Quirks } from "../support/s3-quirks.ts";
import { startVersitygw, type Versitygw } from "../support/versitygw.ts";

const MIB = 2 ** 20;

describeWith(["versitygw"], "a store", () => {
  let server: Versitygw;
  let s3: S3Options;
  beforeAll(async () => {
    server = await startVersitygw();
    await server.createBucket("blobs");
    s3 = { bucket: "blobs", endpoint: server.endpoint, credentials: server };
  });
  afterAll(async () => server[Symbol.asyncDispose]());

  test("that is frozen is given up after some 15 s, with large bodies after half a minute", async () => {
    const client = new S3Client(s3);
    await client.put("there", randomBytes(1000));
    const key = `data/ab/ab${"c".repeat(24)}`;
    const uploadId = await client.createMultipart(key);
    const small: Record<string, () => Promise<unknown>> = {
      get: () => client.get("there"),
      open: () => client.open("there", 1000),
      head: () => client.head("there"),
      put: () => client.put("x", randomBytes(100_000)),
      list: () => client.list(""),
      delete: () => client.delete("there"),
      createMultipart: () => client.createMultipart(`${key}x`),
      abortMultipart: () => client.abortMultipart(key, uploadId),
    };
    const large: Record<string, () => Promise<unknown>> = {
      put: () => client.put("y", randomBytes(7 * MIB)),
      uploadPart: () =>
        client.uploadPart(key, uploadId, { number: 1, bytes: randomBytes(20 * MIB) }),
      completeMultipart: () => client.completeMultipart(key, uploadId, ["0"], 20 * MIB),
    };
    signal(server.pid, "SIGSTOP");
    const late: string[] = [];
    const given = async (
      calls: Record<string, () => Promise<unknown>>,
      seconds: number,
    ): Promise<void> => {
      const all = Object.entries(calls).map(async ([name, call]) => {
        const began = performance.now();
        const failure = await failureOf(call());
        const took = (performance.now() - began) / 1000;
        expect(failure).toBeInstanceOf(BlobStoreUnavailable);
        expect(String(failure)).toContain(`${server.endpoint} did not answer`);
        if (took > seconds) late.push(`${name}: ${took.toFixed(1)} s`);
      });
      await Promise.all(all);
    };
    await Promise.all([given(small, 22), given(large, 40)]);
    signal(server.pid, "SIGCONT");
    expect(late).toEqual([]);
    await client.put("there", randomBytes(1000));
  }, 90_000);

  test("that sends slowly is waited for", async () => {
    const target = { ...server, region: "us-east-1" };
    await using proxy = await S3Quirks.start({ target });
    const patience = { answer: 700, operation: 1400 };
    const client = new S3Client({ ...s3, endpoint: proxy.endpoint, patience });
    const bytes = randomBytes(3 * MIB);
    await client.put("slow", bytes);
    proxy.bytesPerSecond = MIB;
    const began = performance.now();
    expect(Bun.SHA256.hash((await client.get("slow")) ?? "")).toEqual(Bun.SHA256.hash(bytes));
    expect(performance.now() - began).toBeGreaterThan(2 * patience.answer);
  }, 30_000);

  test("whose secret cannot be read for ever is not used", async () => {
    const directory = mkdtempSync(join(tmpdir(), "holdfast-secret-"));
    const secretAccessKeyFile = join(directory, "secret");
    Bun.spawnSync(["mkfifo", secretAccessKeyFile]);
    const credentials = { accessKeyId: server.accessKeyId, secretAccessKeyFile };
    const client = new S3Client({ ...s3, credentials });
    const began = performance.now();
    expect(String(await failureOf(client.head("there")))).toContain("has not answered for 7 s");
    expect(performance.now() - began).toBeLessThan(20_000);
    // What comes late is good for the next request.
    writeFileSync(secretAccessKeyFile, server.secretAccessKey);
    rmSync(secretAccessKeyFile);
    writeFileSync(secretAccessKeyFile, server.secretAccessKey);
    expect(await client.head("nothing")).toBeUndefined();
    rmSync(directory, { recursive: true });
  }, 40_000);
});
