import { blobStoreConformance } from "../../blobs/conformance.ts";
import { TestCluster } from "./copies-fixture.ts";

blobStoreConformance("three nodes", async () => {
  const cluster = await TestCluster.open({ copies: 3, durable: 2 });
  const node = cluster.node(0);
  return { store: await node.open(), other: await node.open(), close: () => cluster.close() };
});
