import { rmSync } from "node:fs";
import { join } from "node:path";
import type { Bench, Figure, Line, Result, Target } from "../bench.ts";
import { registries } from "../bench.ts";
import { Connection } from "../client.ts";
import { fillRepositories, fillTags } from "../fill.ts";
import type { Usage } from "../measure.ts";
import { measured, memory } from "../measure.ts";
import { createSource } from "../payload.ts";
import type { Server } from "../servers.ts";
import { target } from "../targets.ts";
import { pushByPut } from "../uploads.ts";
import { wrk } from "../wrk.ts";

const mega = 1e6;
/** How much more the larger work, a hundred times the smaller or more, may take and still be called flat. */
const flat = 1.25;
/** As many as a page of a listing holds. */
const long = 10_000;

const line = (name: string, server: Server, usage: Usage): Line => {
  const value = usage.peakPss / mega;
  const summary = { value, work: 1, cpuPerWork: usage.cpuSeconds, rounds: [value], ...usage };
  return { figure: 8, name, unit: "MB PSS", work: "run", servers: { [server.name]: summary } };
};

/** A server that has done nothing yet, five seconds after its start. */
const idle = async (bench: Bench): Promise<Result> => {
  bench.progress("idle with one worker");
  const server = await bench.another("memory-idle", 1);
  try {
    await Bun.sleep(5000);
    const { pss, rss } = await memory(server.pid);
    const found = line("idle, one worker", server, {
      cpuSeconds: 0,
      peakPss: pss,
      peakRss: rss,
      peakNodeRss: rss,
    });
    return {
      lines: [found],
      targets: target(8, "idle PSS, one worker", pss / mega, { atMost: 90 }, "MB"),
    };
  } finally {
    await server.stop();
  }
};

const growth = (what: string, small: Line, large: Line): Target[] => {
  const [before, after] = [small.servers.holdfast?.value, large.servers.holdfast?.value];
  if (before === undefined || after === undefined) return [];
  return target(8, what, after / before, { atMost: flat });
};

/** Peaks of a fresh server during an upload of 64 MiB, then of 1 GiB. */
const uploads = async (bench: Bench): Promise<Result> => {
  const server = await bench.another("memory-uploads", 2);
  const push = async (name: string, size: number): Promise<Line> => {
    bench.progress(name);
    const source = await createSource(join(bench.sources, "memory"), size);
    const connection = await Connection.open(server.port);
    const work = (): Promise<void> => pushByPut(server, connection, "bench/memory", source);
    const { usage } = await measured(server.pid, work);
    connection.close();
    rmSync(source.path);
    return line(name, server, usage);
  };
  try {
    // The first upload loads code and grows the heap once, whatever its size.
    await push("warming up", 2 ** 26);
    const small = await push("peak while pushing 64 MiB, fresh server", 2 ** 26);
    const large = await push("peak while pushing 1 GiB, fresh server", 2 ** 30);
    return {
      lines: [small, large],
      targets: growth("1 GiB push: PSS against 64 MiB", small, large),
    };
  } finally {
    await server.stop();
  }
};

/** Peaks of a restarted server while it lists a repository of 100 tags, then of many. */
const lists = async (bench: Bench): Promise<Result> => {
  const filler = await bench.another("memory-lists", 2);
  try {
    await fillTags(bench, filler, "bench/few", 100);
    await fillTags(bench, filler, "bench/many", bench.many);
  } finally {
    await filler.stop();
  }
  const server = await bench.another("memory-lists", 2);
  const list = async (repository: string, tags: number): Promise<Line> => {
    const path = `/v2/${repository}/tags/list?n=100`;
    const load = { path, connections: 4, seconds: bench.seconds };
    const { usage } = await measured(server.pid, () => wrk(server, load));
    return line(`peak while listing 100 of ${tags} tags, fresh server`, server, usage);
  };
  try {
    const small = await list("bench/few", 100);
    const large = await list("bench/many", bench.many);
    return {
      lines: [small, large],
      targets: growth("tags/list: PSS against 100 tags", small, large),
    };
  } finally {
    await server.stop();
  }
};

/** Peaks of fresh servers on the same data while eight clients list pages of 100 names, then all there are. */
const pages = async (bench: Bench): Promise<Result> => {
  const filler = await bench.another("memory-pages", 2);
  try {
    await fillTags(bench, filler, "bench/pages", long);
    await fillRepositories(bench, filler, long);
  } finally {
    await filler.stop();
  }
  const list = async (path: string, n: number): Promise<Line> => {
    const server = await bench.another("memory-pages", 2);
    try {
      const load = { path: `${path}?n=${n}`, connections: 8, seconds: bench.seconds };
      const { usage } = await measured(server.pid, () => wrk(server, load));
      return line(`peak during ${path}?n=${n}, fresh server`, server, usage);
    } finally {
      await server.stop();
    }
  };
  const results: Result[] = [];
  for (const [what, path] of [
    ["tags/list", "/v2/bench/pages/tags/list"],
    ["_catalog", "/v2/_catalog"],
  ] as const) {
    const [little, much] = [await list(path, 100), await list(path, long)];
    const targets = growth(`${what}?n=${long}: PSS against n=100`, little, much);
    results.push({ lines: [little, much], targets });
  }
  return joined(results);
};

const joined = (parts: readonly Result[]): Result => ({
  lines: parts.flatMap((part) => part.lines),
  targets: parts.flatMap((part) => part.targets),
});

/** The servers under test: their peaks over all figures that ran before this one. */
export const peaks = (bench: Bench): Result => {
  const lines: Line[] = [];
  for (const server of registries(bench)) {
    const peak = bench.peaks.get(server.name);
    if (peak)
      lines.push(
        line(`peak through the bench, ${server.name}`, server, {
          cpuSeconds: 0,
          ...peak,
        }),
      );
  }
  const [ours, theirs] = [bench.peaks.get("holdfast"), bench.peaks.get("distribution")];
  const ratio =
    ours === undefined || theirs === undefined ? undefined : ours.peakPss / theirs.peakPss;
  return {
    lines,
    targets: target(8, "peak PSS through the bench, two workers", ratio, { atMost: 2 }),
  };
};

const run = async (bench: Bench): Promise<Result> => {
  const through = peaks(bench);
  if (bench.holdfast === undefined) return through;
  return joined([
    await idle(bench),
    through,
    await uploads(bench),
    await lists(bench),
    await pages(bench),
  ]);
};

export const memoryUse: Figure = { id: 8, title: "memory", run };
