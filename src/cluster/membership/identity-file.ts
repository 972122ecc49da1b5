/** In the data directory of every node of a cluster, and in no other. */
export const IDENTITY_FILE = "cluster.json";
