/** What Ceph's gateway says no to, and one thing that it should. */
import { expect, test } from "bun:test";
import { digestOf, failureOf, newId, randomBytes } from "../../src/blobs/conformance-tools.ts";
import { BlobStoreFull, BlobStoreUnavailable } from "../../src/blobs/port.ts";
import { S3Client } from "../../src/blobs/s3/client.ts";
import { probeS3 } from "../../src/blobs/s3/index.ts";
import { until } from "../support/processes.ts";
import { describeWith } from "../clients/support/tools.ts";
import { CEPH, optionsOf } from "../support/s3-kinds.ts";
import { openNodes } from "../support/s3-stores.ts";
import { sharedCeph } from "../support/shared-place.ts";

const MIB = 1 << 20;

describeWith(CEPH.programs, "Ceph refuses", () => {
  test("another user's bucket: the sentence names the key and what it lacks", async () => {
    const { admin } = await sharedCeph();
    const credentials = { accessKeyId: "stranger", secretAccessKey: "stranger-secret" };
    await admin(
      "user",
      "create",
      "--uid=stranger",
      "--display-name=stranger",
      `--access-key=${credentials.accessKeyId}`,
      `--secret-key=${credentials.secretAccessKey}`,
    );
    await using place = await CEPH.open();
    const failure = await failureOf(probeS3({ ...optionsOf(place), credentials }));
    expect(failure).toBeInstanceOf(BlobStoreUnavailable);
    expect(String(failure)).toContain(
      "allow storage.s3.accessKeyId to read, write, list and delete",
    );
  });

  test("what exceeds a quota: the bucket is full, for small blobs and for parts", async () => {
    const { admin } = await sharedCeph();
    await using place = await CEPH.open();
    await admin(
      "quota",
      "set",
      "--uid=test",
      "--quota-scope=bucket",
      `--bucket=${place.bucket}`,
      "--max-size=1M",
    );
    await admin(
      "quota",
      "enable",
      "--uid=test",
      "--quota-scope=bucket",
      `--bucket=${place.bucket}`,
    );
    const nodes = openNodes(optionsOf(place));
    const store = await nodes.node("a");
    const small = randomBytes(2 * MIB);
    expect(await failureOf(store.put(digestOf(small), small))).toBeInstanceOf(BlobStoreFull);
    const large = randomBytes(9 * MIB);
    const upload = await store.upload(newId(), "sha256");
    await upload.write(large.slice());
    expect(await failureOf(upload.commit(digestOf(large)))).toBeInstanceOf(BlobStoreFull);
    // What the failed upload had sent is removed behind its answer.
    const fits = randomBytes(1000);
    const isStored = async (): Promise<boolean> =>
      (await failureOf(store.put(digestOf(fits), fits))) === undefined;
    await until(isStored, 10_000, "room for a small blob again");
    await nodes.close();
  });

  // Why every upload has a data key of its own, and whose it is is settled by the marker.
  test("no CompleteMultipartUpload because of If-None-Match", async () => {
    await using place = await CEPH.open();
    const client = new S3Client(optionsOf(place));
    await client.put("taken", randomBytes(10));
    const bytes = randomBytes(1000);
    const uploadId = await client.createMultipart("taken");
    const etag = await client.uploadPart("taken", uploadId, { number: 1, bytes });
    const list = `<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>${etag}</ETag></Part></CompleteMultipartUpload>`;
    const status = await client.transport.send(
      {
        method: "POST",
        key: "taken",
        query: { uploadId },
        headers: { "if-none-match": "*" },
        body: new TextEncoder().encode(list),
        expected: [200, 412],
      },
      async (response) => {
        await response.text();
        return response.status;
      },
    );
    expect(status).toBe(200);
    expect(await client.get("taken")).toEqual(bytes);
  });
});
