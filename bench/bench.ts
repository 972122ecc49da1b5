import type { Processes, Usage } from "./measure.ts";
import { cpuSeconds, measured } from "./measure.ts";
import type { Server, ServerName } from "./servers.ts";
import { nodesOf } from "./servers.ts";
import { median } from "./statistics.ts";

/** What one run of a load on one server found. */
export interface Reading {
  /** The figure itself, in the line's unit. */
  readonly value: number;
  /** Units of work done (requests, images, GB), to divide the server's CPU seconds by. */
  readonly work: number;
  /** Latencies in seconds. */
  readonly p50?: number;
  readonly p99?: number;
}

/** Medians over the rounds; peaks are maxima. */
export interface Summary extends Reading, Usage {
  readonly cpuPerWork: number;
  /** CPU seconds per unit of work that the stores behind the server took, by their names. */
  readonly stores?: Readonly<Record<string, number>>;
  /** The figure of every round, in order. */
  readonly rounds: readonly number[];
}

export interface Line {
  readonly figure: number;
  readonly name: string;
  readonly unit: string;
  /** What `cpuPerWork` is divided by. */
  readonly work: string;
  readonly servers: Partial<Record<ServerName, Summary>>;
}

/** A target of the issue and what came of it. */
export interface Target {
  readonly figure: number;
  readonly what: string;
  readonly wanted: string;
  readonly measured: string;
  readonly ok: boolean;
}

/** S3 requests per piece of work. */
export interface Count {
  readonly what: string;
  readonly server: ServerName;
  readonly operations: Readonly<Record<string, number>>;
}

export interface Result {
  readonly lines: readonly Line[];
  readonly targets: readonly Target[];
  readonly counts?: readonly Count[];
}

export interface Figure {
  readonly id: number;
  readonly title: string;
  run(bench: Bench): Promise<Result>;
}

/** What keeps things for servers, such as their database; counted by itself also where a server has started it. */
export interface Helper {
  readonly name: string;
  readonly pid: Processes;
}

/** What every figure is given. */
export interface Bench {
  readonly quick: boolean;
  readonly rounds: number;
  /** Length of one load, in seconds. */
  readonly seconds: number;
  /** Entries that "100,000" means in this run. */
  readonly many: number;
  /** A directory for the figure's files, on the disk that the servers use. */
  readonly dir: string;
  /** A directory for files to push, in memory if there is room. */
  readonly sources: string;
  readonly holdfast: Server | undefined;
  /** Holdfast again: as all of its nodes, which get the requests in turn. */
  readonly allNodes?: Server | undefined;
  readonly distribution: Server | undefined;
  readonly nginx: Server | undefined;
  /** What the servers store their things in, where that is not themselves. */
  readonly stores: readonly Helper[];
  /** Starts a Holdfast beside the one under test, on the data of that name; the caller stops it. */
  another(name: string, workers: number): Promise<Server>;
  /** The highest memory of each server so far. */
  readonly peaks: Map<ServerName, Omit<Usage, "cpuSeconds">>;
  progress(what: string): void;
}

export const registries = (bench: Bench): Server[] =>
  [bench.holdfast, bench.allNodes, bench.distribution].filter((server) => server !== undefined);

/** Runs work that loads a server, and remembers the server's highest memory. */
export const observed = async <T>(
  bench: Bench,
  server: Server,
  work: () => Promise<T>,
): Promise<{ readonly value: T; readonly usage: Usage }> => {
  const pids = nodesOf(server).flatMap(({ pid }) => pid);
  const apart = bench.stores.flatMap(({ pid }) => pid);
  const seen = await measured(pids, work, apart);
  const { usage } = seen;
  const peak = bench.peaks.get(server.name) ?? usage;
  bench.peaks.set(server.name, {
    peakPss: Math.max(peak.peakPss, usage.peakPss),
    peakRss: Math.max(peak.peakRss, usage.peakRss),
    peakNodeRss: Math.max(peak.peakNodeRss, usage.peakNodeRss),
  });
  return seen;
};

export interface Plan {
  readonly figure: number;
  readonly name: string;
  readonly unit: string;
  readonly work: string;
  readonly servers: readonly Server[];
  /** Not timed; what the next server gets, which none has had before: two of them may be one cluster. */
  readonly prepare?: (round: number) => Promise<void>;
  readonly once: (server: Server, round: number) => Promise<Reading>;
}

/** The time that a server gets to finish what the load left behind, before the next one starts. */
const pause = 300;

const optionalMedian = (values: readonly (number | undefined)[]): number | undefined => {
  const known = values.filter((value) => value !== undefined);
  return known.length === 0 ? undefined : median(known);
};

const summarize = (
  readings: readonly Reading[],
  usages: readonly Usage[],
  stores: ReadonlyMap<string, number>,
): Summary => {
  const rounds = readings.map(({ value }) => value);
  const p50 = optionalMedian(readings.map((reading) => reading.p50));
  const p99 = optionalMedian(readings.map((reading) => reading.p99));
  const cpu = usages.reduce((sum, usage) => sum + usage.cpuSeconds, 0);
  const work = readings.reduce((sum, reading) => sum + reading.work, 0);
  return {
    value: median(rounds),
    work,
    ...(p50 === undefined ? {} : { p50 }),
    ...(p99 === undefined ? {} : { p99 }),
    cpuSeconds: cpu,
    cpuPerWork: cpu / work,
    ...(stores.size === 0
      ? {}
      : { stores: Object.fromEntries([...stores].map(([name, used]) => [name, used / work])) }),
    peakPss: Math.max(...usages.map((usage) => usage.peakPss)),
    peakRss: Math.max(...usages.map((usage) => usage.peakRss)),
    peakNodeRss: Math.max(...usages.map((usage) => usage.peakNodeRss)),
    rounds,
  };
};

interface Seen {
  readonly reading: Reading[];
  readonly usage: Usage[];
  /** CPU seconds of each store. */
  readonly stores: Map<string, number>;
}

/** Rounds of A, B, A, B …, so that what else the machine does hits all servers alike. */
export const alternate = async (bench: Bench, plan: Plan): Promise<Line> => {
  const readings = new Map<Server, Seen>();
  for (let round = 0; round < bench.rounds; round++) {
    for (const server of plan.servers) {
      await plan.prepare?.(round);
      bench.progress(`${plan.name}: ${server.name}, round ${round + 1} of ${bench.rounds}`);
      const before = bench.stores.map(({ pid }) => cpuSeconds(pid));
      const { value, usage } = await observed(bench, server, () => plan.once(server, round));
      const seen: Seen = readings.get(server) ?? { reading: [], usage: [], stores: new Map() };
      for (const [at, { name, pid }] of bench.stores.entries()) {
        // Less than none where a process of it has ended meanwhile and took its count along.
        const used = Math.max(0, cpuSeconds(pid) - (before[at] ?? 0));
        seen.stores.set(name, (seen.stores.get(name) ?? 0) + used);
      }
      seen.reading.push(value);
      seen.usage.push(usage);
      readings.set(server, seen);
      await Bun.sleep(pause);
    }
  }
  const servers: Partial<Record<ServerName, Summary>> = {};
  for (const [server, { reading, usage, stores }] of readings)
    servers[server.name] = summarize(reading, usage, stores);
  const { figure, name, unit, work } = plan;
  return { figure, name, unit, work, servers };
};
