import { existsSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Bench, Line } from "../bench.ts";
import { getLarge, pushLarge } from "../figures/03-large-blob-get.ts";
import type { Server } from "../servers.ts";
import { nodesOf } from "../servers.ts";
import { startCluster } from "./servers.ts";

/** Whether the node's own disk has a blob in a file of its own. */
const holds = ({ data }: Server, digest: string): boolean => {
  const hex = digest.slice("sha256:".length);
  const folder = join(data, "blobs/sha256", hex.slice(0, 2));
  return existsSync(folder) && readdirSync(folder).some((name) => name.startsWith(hex));
};

/**
 * 1 GiB from the one node of three that has no copy, which streams it from one that has. The nodes are of a cluster of
 * its own, on `port` and the 32 after it, since by default all three hold everything.
 */
export const throughNonHolder = async (bench: Bench, port: number): Promise<Line> => {
  bench.progress("starting three nodes that keep two copies");
  const dir = join(bench.dir, "two-copies");
  const { oneNode, allNodes, etcd } = await startCluster(dir, port, {
    HOLDFAST_CLUSTER_COPIES: "2",
  });
  try {
    const peers = bench.distribution === undefined ? [] : [bench.distribution];
    const stored = await pushLarge(bench, [oneNode, ...peers]);
    rmSync(stored.source.path);
    const without = nodesOf(allNodes).filter((node) => !holds(node, stored.source.digest));
    const [reader] = without;
    if (reader === undefined || without.length > 1)
      throw new Error(`${without.length} of 3 nodes lack a blob that two should hold`);
    const name = "1 GiB blob GET through a node without it, one connection";
    const apart = { ...bench, stores: [etcd] };
    const line = await getLarge(apart, name, stored, [
      { ...reader, name: "holdfast", pid: oneNode.pid },
      ...peers,
    ]);
    if (holds(reader, stored.source.digest)) throw new Error("the node has got a copy meanwhile");
    return line;
  } finally {
    await oneNode.stop();
    rmSync(dir, { recursive: true, force: true });
  }
};
