/** The BlobStore port on a real S3 server. */
import { blobStoreConformance } from "../../src/blobs/conformance.ts";
import { describeWith } from "../clients/support/tools.ts";
import { openNodes } from "../support/s3-stores.ts";
import { startVersitygw } from "../support/versitygw.ts";

describeWith(["versitygw"], "versitygw", () => {
  for (const prefix of ["", "a/b-c/"]) {
    blobStoreConformance(`s3, prefix "${prefix}"`, async () => {
      const server = await startVersitygw();
      await server.createBucket("blobs");
      const nodes = openNodes({
        bucket: "blobs",
        prefix,
        endpoint: server.endpoint,
        credentials: server,
      });
      return {
        store: await nodes.node("one"),
        other: await nodes.node("two"),
        async close() {
          await nodes.close();
          await server[Symbol.asyncDispose]();
        },
      };
    });
  }
});
