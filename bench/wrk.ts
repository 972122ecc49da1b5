import { join } from "node:path";
import type { Reading } from "./bench.ts";
import { output } from "./processes.ts";
import type { Server } from "./servers.ts";
import { nodesOf } from "./servers.ts";
import { median } from "./statistics.ts";

export interface Load {
  /** Path and query; with `varying`, the beginning that each line of that file completes. */
  readonly path: string;
  readonly varying?: string;
  readonly accept?: string;
  readonly connections: number;
  readonly seconds: number;
}

interface Counted {
  readonly requests: number;
  readonly micros: number;
  readonly errors: number;
  readonly p50: number;
  readonly p99: number;
}

/** Loads a server with wrk, all its nodes at once with an equal share; throws when a single request fails. */
export const wrk = async (server: Server, load: Load): Promise<Reading> => {
  const nodes = nodesOf(server);
  const share = { ...load, connections: Math.round(load.connections / nodes.length) };
  const readings = await Promise.all(nodes.map(async (node) => wrkNode(node, share)));
  const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);
  return {
    value: sum(readings.map(({ value }) => value)),
    work: sum(readings.map(({ work }) => work)),
    p50: median(readings.map(({ p50 }) => p50)),
    p99: Math.max(...readings.map(({ p99 }) => p99)),
  };
};

/** One of wrk's threads cannot keep two fast workers busy. */
const wrkNode = async (server: Server, load: Load): Promise<Required<Reading>> => {
  const url = `http://127.0.0.1:${server.port}${load.varying === undefined ? load.path : "/"}`;
  const script = join(import.meta.dir, "wrk.lua");
  const lines = await output([
    "wrk",
    "-t2",
    `-c${load.connections}`,
    `-d${load.seconds}s`,
    "--timeout",
    "120s",
    ...(load.accept === undefined ? [] : ["-H", `Accept: ${load.accept}`]),
    "-s",
    script,
    url,
    "--",
    ...(load.varying === undefined ? [] : [load.path, load.varying]),
  ]);
  const counted = JSON.parse(lines.trim().split("\n").at(-1) ?? "") as Counted;
  if (counted.errors > 0 || counted.requests === 0)
    throw new Error(
      `${server.name}: ${counted.errors} of ${counted.requests} requests failed: GET ${load.path}`,
    );
  return {
    value: (counted.requests * 1e6) / counted.micros,
    work: counted.requests,
    p50: counted.p50 / 1e6,
    p99: counted.p99 / 1e6,
  };
};
