/** The BlobStore port under all of Storj's rules, none of which the engine may ever run into. */
import { expect, test } from "bun:test";
import { blobStoreConformance } from "../../src/blobs/conformance.ts";
import { describeWith } from "../clients/support/tools.ts";
import type { LoggedRequest } from "../support/s3-quirks.ts";
import { openNodes } from "../support/s3-stores.ts";
import { startStorjGateway } from "../support/storj-gateway.ts";

describeWith(["versitygw"], "Storj", () => {
  const seen = { refused: [] as LoggedRequest[], requests: 0 };

  blobStoreConformance("s3 under Storj's rules", async () => {
    const storj = await startStorjGateway();
    const nodes = openNodes(await storj.options("registry/"));
    return {
      store: await nodes.node("one"),
      other: await nodes.node("two"),
      async close() {
        await nodes.close();
        seen.refused = storj.gateway.refused();
        seen.requests = storj.gateway.log.length;
        await storj[Symbol.asyncDispose]();
      },
    };
  });

  test("no request met a rule", () => {
    expect(seen.refused).toEqual([]);
    expect(seen.requests).toBeGreaterThan(100);
  });
});
