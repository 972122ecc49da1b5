/** A bucket that cannot be used says which field is wrong and what to do; one that can, what it can do. */
import { afterAll, afterEach, beforeAll, expect, setSystemTime, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { digestOf, failureOf, randomBytes } from "../../../src/blobs/conformance-tools.ts";
import { BlobStoreFull, BlobStoreUnavailable } from "../../../src/blobs/port.ts";
import { S3Client } from "../../../src/blobs/s3/client.ts";
import { smallLocator } from "../../../src/blobs/s3/names.ts";
import { chainCredentials, openS3Objects, probeS3 } from "../../../src/blobs/s3/index.ts";
import type { S3Options } from "../../../src/blobs/s3/index.ts";
import { describeWith } from "../../clients/support/tools.ts";
import { s3Error, startS3Proxy, type S3Proxy } from "../s3-proxy.ts";
import { openNodes } from "../s3-stores.ts";
import type { S3Kind, S3Place } from "../s3-kinds.ts";

export function s3StartSuite(kind: S3Kind): void {
  describeWith(kind.programs, `starting on ${kind.name}`, () => {
    let server: S3Place;
    let proxy: S3Proxy;
    let s3: S3Options;

    beforeAll(async () => {
      server = await kind.open();
      proxy = await startS3Proxy(server.endpoint);
      s3 = { bucket: server.bucket, prefix: "x/", endpoint: proxy.endpoint, credentials: server };
    });
    afterEach(() => {
      proxy.judge = () => "pass";
      setSystemTime();
    });
    afterAll(async () => {
      proxy[Symbol.dispose]();
      await server[Symbol.asyncDispose]();
    });

    async function sentence(options: Partial<S3Options>): Promise<string> {
      const failure = await failureOf(probeS3({ ...s3, ...options }));
      expect(failure).toBeInstanceOf(BlobStoreUnavailable);
      return (failure as Error).message;
    }

    test("the probe tells what the store does, in few requests, and leaves nothing", async () => {
      proxy.clear();
      expect(await probeS3(s3)).toEqual({
        ifNoneMatch: "honoured",
        etag: "quoted",
        listing: "sorted",
        listsMultiparts: true,
        clockSkew: expect.any(Number) as number,
      });
      expect(proxy.requests.length).toBeLessThanOrEqual(12);
      const page = await new S3Client(s3).list("");
      expect(page.objects).toEqual([]);
    });

    test("a store that ignores or refuses If-None-Match is found out, and nothing is put once there", async () => {
      const isConditional = (request: string): boolean => /^PUT .*\/a$/.test(request);
      let puts = 0;
      const ok = { answer: "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" };
      proxy.judge = (request) => (isConditional(request) && puts++ > 0 ? ok : "pass");
      expect(await probeS3(s3)).toMatchObject({ ifNoneMatch: "ignored" });
      puts = 0;
      proxy.judge = (request) =>
        isConditional(request) && puts++ > 0 ? s3Error(501, "NotImplemented") : "pass";
      expect(await probeS3(s3)).toMatchObject({ ifNoneMatch: "refused" });
      const objects = openS3Objects({ ...s3, ifNoneMatch: false });
      expect(
        String(await failureOf(objects.put("a", randomBytes(1), { ifAbsent: true }))),
      ).toContain("If-None-Match");
    });

    test("wrong key, wrong secret, no bucket, wrong region, nobody there", async () => {
      const { accessKeyId, secretAccessKey } = server;
      expect(await sentence({ credentials: { accessKeyId: "nobody", secretAccessKey } })).toContain(
        "correct storage.s3.accessKeyId",
      );
      expect(await sentence({ credentials: { accessKeyId, secretAccessKey: "x" } })).toContain(
        "storage.s3.secretAccessKey does not belong",
      );
      expect(await sentence({ bucket: "absent" })).toContain('no bucket "absent"');
      if (kind.checksRegion) {
        const said = await sentence({ region: "eu-west-1" });
        expect(said).toContain("set storage.s3.region to us-east-1");
      } else {
        expect(await probeS3({ ...s3, region: "eu-west-1" })).toMatchObject({ etag: "quoted" });
      }
      expect(await sentence({ endpoint: "http://127.0.0.1:43999" })).toContain(
        "storage.s3.endpoint",
      );
    }, 30_000);

    test("a clock that is off by how much", async () => {
      setSystemTime(new Date(Date.now() + 20 * 60_000));
      expect(await sentence({})).toMatch(/clock is 12\d\d s ahead of the store's/);
      setSystemTime(new Date(Date.now() - 50 * 60_000));
      expect(await sentence({})).toMatch(/\d{4} s behind the store's/);
    });

    for (const [status, code, said] of [
      [403, "InvalidAccessKeyId", "storage.s3.accessKeyId"],
      [403, "AccessDenied", "storage.s3.accessKeyId to read, write, list and delete"],
      [301, "PermanentRedirect", "set storage.s3.region to eu-central-1"],
      [400, "ExpiredToken", "session token"],
    ] as const) {
      test(`${code} is explained`, async () => {
        proxy.judge = () => s3Error(status, code, "x-amz-bucket-region: eu-central-1\r\n");
        expect(await sentence({})).toContain(said);
      });
    }

    for (const [status, code] of [
      [403, "StorageLimitExceeded"],
      [507, "XMinioStorageFull"],
      [507, "Anything"],
    ] as const) {
      test(`${status} ${code} says that the bucket is full`, async () => {
        proxy.judge = () => s3Error(status, code);
        const nodes = openNodes(s3);
        const store = await nodes.node("a");
        const bytes = randomBytes(10);
        expect(await failureOf(store.put(digestOf(bytes), bytes))).toBeInstanceOf(BlobStoreFull);
        await nodes.close();
      });
    }

    test("a bucket that is gone is no blob that is gone", async () => {
      const nodes = openNodes({ ...s3, bucket: "absent" });
      const store = await nodes.node("a");
      const bytes = randomBytes(10);
      const locator = smallLocator(digestOf(bytes));
      for (const failure of [
        await failureOf(store.open(locator, 10)),
        await failureOf(store.read(locator, 10)),
      ]) {
        expect(String(failure)).toContain("storage.s3.bucket");
      }
      await nodes.close();
    });

    test("an unreachable store is told within its time", async () => {
      process.kill(server.pid, "SIGSTOP");
      try {
        const began = Date.now();
        const patience = { answer: 500, operation: 1500 };
        expect(await sentence({ patience })).toContain("did not answer");
        expect(Date.now() - began).toBeLessThan(8000);
      } finally {
        process.kill(server.pid, "SIGCONT");
      }
    }, 20_000);

    test("keys from a file and from the AWS environment", async () => {
      const directory = mkdtempSync(join(tmpdir(), "holdfast-keys-"));
      const secretAccessKeyFile = join(directory, "secret");
      const { accessKeyId, secretAccessKey } = server;
      writeFileSync(secretAccessKeyFile, `${secretAccessKey}\n`);
      expect(
        await probeS3({ ...s3, credentials: { accessKeyId, secretAccessKeyFile } }),
      ).toBeDefined();
      rmSync(directory, { recursive: true });
      expect(await sentence({ credentials: { accessKeyId, secretAccessKeyFile } })).toContain(
        "storage.s3.secretAccessKeyFile",
      );
      process.env["AWS_ACCESS_KEY_ID"] = accessKeyId;
      process.env["AWS_SECRET_ACCESS_KEY"] = secretAccessKey;
      try {
        expect(await probeS3({ ...s3, credentials: chainCredentials() })).toBeDefined();
      } finally {
        delete process.env["AWS_ACCESS_KEY_ID"];
        delete process.env["AWS_SECRET_ACCESS_KEY"];
      }
    });
  });
}
