/** Blobs on several nodes: the store that replicates them, and what it asks of the other nodes. */
export { type ClusterBlobsOptions, openClusterBlobs } from "./blobs.ts";
export { copiesHandlers } from "./serve.ts";
export { purgeShadows } from "./serve-uploads.ts";
