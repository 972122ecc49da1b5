/** A listing that says that it goes on, but not where, is asked for again, and never taken for a whole one. */
import { afterAll, beforeAll, beforeEach, expect, test } from "bun:test";
import { collected, failureOf } from "../../src/blobs/conformance-tools.ts";
import { S3Client } from "../../src/blobs/s3/client.ts";
import { S3Failure } from "../../src/blobs/s3/errors.ts";
import { describeWith } from "../clients/support/tools.ts";
import { S3Quirks } from "../support/s3-quirks.ts";
import { startVersitygw, type Versitygw } from "../support/versitygw.ts";

/** More than a page of a thousand. */
const MANY = 1005;
const MARKERS = ["NextContinuationToken", "NextKeyMarker", "NextPartNumberMarker"];

describeWith(["versitygw"], "a truncated listing", () => {
  let server: Versitygw;
  let proxy: S3Quirks;
  let client: S3Client;
  let upload = "";

  beforeAll(async () => {
    server = await startVersitygw();
    await server.createBucket("bucket");
    proxy = await S3Quirks.start({ target: server });
    const { endpoint } = proxy;
    client = new S3Client({ bucket: "bucket", endpoint, credentials: server });
    upload = await client.createMultipart("parts/x");
    let next = 0;
    const lane = async (): Promise<void> => {
      for (let n = ++next; n <= MANY; n = ++next) {
        await client.put(`many/${n}`, new Uint8Array());
        await client.createMultipart(`data/${n}`);
        await client.uploadPart("parts/x", upload, { number: n, bytes: new Uint8Array(1) });
      }
    };
    await Promise.all(Array.from({ length: 16 }, lane));
  }, 60_000);
  afterAll(async () => {
    await proxy[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
  });
  beforeEach(() => proxy.clear());

  const LISTINGS: Record<string, () => Promise<number>> = {
    ListObjectsV2: async () => (await collected(client.listAll("many/"))).length,
    ListMultipartUploads: async () => (await collected(client.openMultiparts("data/"))).length,
    ListParts: () => client.multipartSize("parts/x", upload),
  };
  for (const [operation, count] of Object.entries(LISTINGS)) {
    const when = (request: { readonly operation: string }) => request.operation === operation;

    test(`${operation}: asked for again`, async () => {
      using fault = proxy.inject({ leaveOut: MARKERS }, { when, times: 1 });
      expect(await count()).toBe(MANY);
      expect(fault.hits).toBe(1);
      expect(proxy.counts()[operation]).toBe(3);
    }, 30_000);

    test(`${operation}: an error where it stays so`, async () => {
      using _fault = proxy.inject({ leaveOut: MARKERS }, { when });
      const failure = await failureOf(count());
      expect(failure).toBeInstanceOf(S3Failure);
      expect(String(failure)).toContain("does not say where it goes on");
    }, 30_000);
  }
});
