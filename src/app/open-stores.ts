/** One way of opening a node's stores for each kind of `config.stores`; the ways not taken are not loaded. */
import { refuseOtherShape } from "./data-shape.ts";
import { openFileStores } from "./file-stores.ts";
import type { NodeOptions, NodeStores } from "./node-stores.ts";

/** The caller holds the data directory's lock. Throws `StartError`. */
export async function openNodeStores(options: NodeOptions): Promise<NodeStores> {
  const { stores } = options.config;
  refuseOtherShape(options.config);
  switch (stores.kind) {
    case "files":
      return openFileStores(options);
    case "bucket-solo":
      return (await import("./bucket-stores.ts")).openBucketStores(options, stores.bucket);
    case "shared":
      return (await import("./shared-stores.ts")).openSharedStores(options, stores);
    case "cluster":
      return (await import("./cluster-stores.ts")).openClusterStores(options, stores.cluster);
    default:
      return stores satisfies never;
  }
}
