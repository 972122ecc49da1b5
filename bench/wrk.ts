import { join } from "node:path";
import type { Reading } from "./bench.ts";
import { output } from "./processes.ts";
import type { Server } from "./servers.ts";

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

/** Loads a server with wrk (one of its threads cannot keep two fast workers busy); throws when a single request fails. */
export const wrk = async (server: Server, load: Load): Promise<Reading> => {
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
