import { parseArgs } from "node:util";
import type { ServerName } from "./servers.ts";

export interface Options {
  readonly quick: boolean;
  /** Solo: one process tree with its files. The others: one node, and all nodes in turn. */
  readonly shape: "solo" | "shared" | "cluster";
  /** Numbers of the figures to run; empty means all. */
  readonly only: readonly number[];
  readonly servers: readonly ServerName[];
  readonly dir: string;
  /** Where results.json and results.md go. */
  readonly out: string;
  readonly port: number;
  readonly cores: string;
}

export const usage = `Usage: npm run bench -- [options]

Runs Holdfast beside distribution and nginx. A full run writes bench/results.json and
bench/results.md; a shortened or partial one writes them to .cache/bench.

  --shared          one node and two on PostgreSQL and an S3 server (versitygw), beside distribution
                    on the same S3 server; writes shared-results.json and shared-results.md
  --cluster         three nodes with an etcd each, asked at one node and in turn, beside distribution;
                    writes cluster-results.json and cluster-results.md
  --quick           a few minutes: short loads, one round, 5,000 entries instead of 100,000
  --only 1,5        these figures only
  --no-peers        Holdfast alone (no ratios)
  --servers A,B     any of holdfast, distribution, nginx
  --dir DIR         where the servers keep their data (default .cache); on a real disk, not a tmpfs
  --out DIR         where the results go
  --port N          the first of the ports to use (default 22000)
  --cores LIST      the cores that servers and clients share (default 0,1)
`;

const names = ["holdfast", "distribution", "nginx"] as const satisfies readonly ServerName[];

/** Options from arguments; undefined when help was asked for; throws on what it does not know. */
export const parseOptions = (args: string[], root: string): Options | undefined => {
  const { values } = parseArgs({
    args,
    options: {
      quick: { type: "boolean", default: false },
      shared: { type: "boolean", default: false },
      cluster: { type: "boolean", default: false },
      only: { type: "string", default: "" },
      "no-peers": { type: "boolean", default: false },
      servers: { type: "string", default: names.join(",") },
      dir: { type: "string", default: `${root}/.cache` },
      out: { type: "string" },
      port: { type: "string", default: "22000" },
      cores: { type: "string", default: "0,1" },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) return undefined;
  if (values.shared && values.cluster) throw new Error("--shared and --cluster are two runs");
  const wanted = values["no-peers"] ? ["holdfast"] : values.servers.split(",");
  const unknown = wanted.find((name) => !names.some((known) => known === name));
  if (unknown !== undefined)
    throw new Error(`--servers: "${unknown}" is none of ${names.join(", ")}`);
  const only = values.only.split(",").filter((id) => id !== "");
  const full = !values.quick && only.length === 0 && wanted.length === names.length;
  return {
    quick: values.quick,
    shape: values.shared ? "shared" : values.cluster ? "cluster" : "solo",
    only: only.map(Number),
    servers: names.filter((name) => wanted.includes(name)),
    dir: values.dir,
    out: values.out ?? `${root}/${full ? "bench" : ".cache/bench"}`,
    port: Number(values.port),
    cores: values.cores,
  };
};
