/** One way of opening a node's stores for each kind of `config.stores`. */
import { openBucketStores } from "./bucket-stores.ts";
import { openClusterStores } from "./cluster-stores.ts";
import { openFileStores } from "./file-stores.ts";
import type { NodeOptions, NodeStores } from "./node-stores.ts";
import { openSharedStores } from "./shared-stores.ts";
import { refuseOtherShape } from "./data-shape.ts";

/** The caller holds the data directory's lock. Throws `StartError`. */
export async function openNodeStores(options: NodeOptions): Promise<NodeStores> {
  const { stores } = options.config;
  refuseOtherShape(options.config);
  if (stores.kind === "shared") return openSharedStores(options, stores);
  if (stores.kind === "bucket-solo") return openBucketStores(options, stores.bucket);
  if (stores.kind === "cluster") return openClusterStores(options, stores.cluster);
  return openFileStores(options);
}
