import { randomBytes } from "node:crypto";
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Helper } from "../bench.ts";
import { output, processTree } from "../processes.ts";
import type { Launched, Server } from "../servers.ts";
import { startHoldfast } from "../servers.ts";

export interface Cluster {
  /** All three, asked at the first only. */
  readonly oneNode: Server;
  /** All three, asked in turn. */
  readonly allNodes: Server;
  /** Those that the nodes run, counted apart. */
  readonly etcd: Helper & { readonly version: string };
}

const names = ["n1", "n2", "n3"] as const;

/** The peer port is the first; etcd's two follow it. */
const internal = 30;

const isEtcd = (pid: number): boolean => {
  try {
    return readFileSync(`/proc/${pid}/comm`, "utf8").trim() === "etcd";
  } catch {
    return false;
  }
};

/** Three new nodes below `dir`, on `port`, `port + 10` and `port + 20`; among themselves on `port + 30` to `port + 32` of loopback addresses of their own. `env` is added to all of them. */
export const startCluster = async (
  dir: string,
  port: number,
  env: Readonly<Record<string, string>> = {},
): Promise<Cluster> => {
  // As in test/support/cluster.ts: machines have the same ports, so these have addresses of their own.
  const network = `127.${port >> 8}.${port & 255}`;
  const address = (at: number): string => `${network}.${at + 1}:${port + internal}`;
  const members = Object.fromEntries(names.map((name, at) => [name, address(at)]));
  const together = {
    HOLDFAST_CLUSTER_MEMBERS: JSON.stringify(members),
    HOLDFAST_CLUSTER_SECRET: randomBytes(32).toString("hex"),
    HOLDFAST_CLUSTER_ETCD_PEER_PORT: String(port + internal + 1),
    HOLDFAST_CLUSTER_ETCD_CLIENT_PORT: String(port + internal + 2),
    ...env,
  };
  mkdirSync(dir, { recursive: true });
  const nodes = await Promise.all(
    names.map(async (name, at) =>
      startHoldfast({ dir: join(dir, name), port: port + 10 * at }, 2, {
        ...together,
        HOLDFAST_CLUSTER_NODE: name,
        HOLDFAST_CLUSTER_LISTEN: address(at),
      }),
    ),
  );
  const [first, ...more] = nodes as [Launched, ...Launched[]];
  const stop = async (): Promise<void> => {
    await Promise.all(nodes.map(async (node) => node.stop()));
  };
  const version = /[\d.]+/.exec(await output(["etcd", "--version"]))?.[0] ?? "";
  return {
    oneNode: { ...first, pid: nodes.map(({ pid }) => pid), stop },
    allNodes: { ...first, name: "three nodes", more, stop },
    etcd: {
      name: "etcd",
      pid: nodes.flatMap(({ pid }) => processTree(pid).filter(isEtcd)),
      version,
    },
  };
};
