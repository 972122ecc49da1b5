import { mkdirSync, mkdtempSync, rmSync, statfsSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Bench, Count, Figure, Helper, Line, Target } from "./bench.ts";
import { figures } from "./figures/index.ts";
import { describeMachine } from "./machine.ts";
import { clusterFigures } from "./cluster/figures.ts";
import { startCluster } from "./cluster/servers.ts";
import type { Options } from "./options.ts";
import { parseOptions, usage } from "./options.ts";
import { killAll, output } from "./processes.ts";
import type { Heading } from "./report.ts";
import { markdown, writeReport } from "./report.ts";
import type { Server, ServerName } from "./servers.ts";
import { startDistribution, startHoldfast, startNginx } from "./servers.ts";
import { sharedFigures } from "./shared/figures.ts";
import { startDistributionOnS3, startNode, startTwoNodes } from "./shared/servers.ts";
import { startStores } from "./shared/stores.ts";

const gib = 2 ** 30;

const free = (dir: string): number => {
  const { bavail, bsize } = statfsSync(dir);
  return bavail * bsize;
};

const began = Date.now();
const progress = (what: string): void => {
  const clock = new Date(Date.now() - began).toISOString().slice(14, 19);
  process.stderr.write(
    process.stderr.isTTY ? `\r\x1b[K[${clock}] ${what}` : `[${clock}] ${what}\n`,
  );
};

const describe = (error: unknown): string =>
  error instanceof Error ? error.message : String(error);

/** Temporary directories; whatever ends the bench removes them. */
const temporary: string[] = [];
const makeTemporary = (parent: string): string => {
  mkdirSync(parent, { recursive: true });
  const dir = mkdtempSync(join(parent, "holdfast-bench-"));
  temporary.push(dir);
  return dir;
};
const cleanUp = (): void => {
  killAll();
  for (const dir of temporary.splice(0)) {
    progress(`removing ${dir}`);
    rmSync(dir, { recursive: true, force: true, maxRetries: 3 });
  }
  progress("done\n");
};

/** What is run: servers, their stores, figures about them. */
interface Suite {
  readonly heading: Heading;
  readonly servers: Partial<Record<ServerName, Server>>;
  readonly stores: readonly (Helper & { readonly version: string })[];
  readonly figures: readonly Figure[];
}

const startSolo = async (options: Options, dir: string): Promise<Suite> => {
  const started: Partial<Record<ServerName, Server>> = {};
  for (const [at, name] of options.servers.entries()) {
    progress(`starting ${name}`);
    const place = { dir: join(dir, name), port: options.port + 10 * at };
    mkdirSync(place.dir);
    if (name === "holdfast") started.holdfast = await startHoldfast(place, 2);
    if (name === "distribution") started.distribution = await startDistribution(place);
    if (name === "nginx") started.nginx = await startNginx(place);
  }
  const method = "fsync is on everywhere.";
  const heading = { name: "results", title: "Holdfast beside its peers", method };
  return { heading, servers: started, stores: [], figures };
};

const startShared = async (options: Options, dir: string): Promise<Suite> => {
  progress("starting PostgreSQL and versitygw");
  const stores = await startStores(dir, options.port + 50);
  for (const bucket of ["holdfast", "distribution"]) stores.createBucket(bucket);
  const place = (name: string, at: number) => ({
    dir: join(dir, name),
    port: options.port + 10 * at,
  });
  const started: Partial<Record<ServerName, Server>> = {};
  if (options.servers.includes("holdfast")) {
    progress("starting one node, and two");
    const database = await stores.createDatabase("one");
    started.holdfast = await startNode(place("one", 0), 2, stores, { database, prefix: "one/" });
    started["two nodes"] = await startTwoNodes([place("two-a", 1), place("two-b", 2)], stores);
  }
  if (options.servers.includes("distribution")) {
    progress("starting distribution");
    started.distribution = await startDistributionOnS3(
      place("distribution", 3),
      stores,
      "distribution",
    );
  }
  const heading = {
    name: "shared-results",
    title: "Holdfast's shared shape beside distribution",
    method:
      "All of them keep their bytes in one versitygw, and Holdfast its metadata in one PostgreSQL, both with the fsyncs that they do by default; servers, stores and clients share the cores. One node (holdfast) has two workers, two nodes have one each, with an installation of their own; requests go to both in turn. What the stores used meanwhile is said beside the server's CPU.",
  };
  const stored = stores.helpers;
  return {
    heading,
    servers: started,
    stores: stored,
    figures: sharedFigures(stores, options.port + 60),
  };
};

const startThree = async (options: Options, dir: string): Promise<Suite> => {
  progress("starting three nodes");
  const { oneNode, allNodes, etcd } = await startCluster(dir, options.port);
  const started: Partial<Record<ServerName, Server>> = {
    holdfast: oneNode,
    "three nodes": allNodes,
  };
  if (options.servers.includes("distribution")) {
    progress("starting distribution");
    const place = { dir: join(dir, "distribution"), port: options.port + 40 };
    started.distribution = await startDistribution(place);
  }
  const heading = {
    name: "cluster-results",
    title: "Holdfast's cluster beside distribution",
    method:
      "Three nodes of two workers and an etcd each, with the copies that they make by default, share the cores and the disk that distribution has to itself. They are one server, asked at one node (holdfast) or, request by request, at each in turn (three nodes); CPU and memory are those of all three, what their etcds used is said beside it.",
  };
  return {
    heading,
    servers: started,
    stores: [etcd],
    figures: clusterFigures(options.port + 50),
  };
};

const suites = { solo: startSolo, shared: startShared, cluster: startThree };

/** Runs what was asked for; true if every figure could be measured. */
const run = async (options: Options): Promise<boolean> => {
  // Children inherit it, so that servers and clients share the same cores on any machine.
  await output(["taskset", "-apc", options.cores, String(process.pid)]);
  const dir = makeTemporary(resolve(options.dir));
  const needed = (options.quick ? 10 : 30) * gib;
  if (free(dir) < needed)
    throw new Error(`${dir} has less than ${needed / gib} GiB free: name another place with --dir`);
  const shared = "/dev/shm";
  const sources = free(shared) > 6 * gib ? makeTemporary(shared) : dir;
  const suite = await suites[options.shape](options, dir);
  const { heading, servers, stores } = suite;
  const { "two nodes": twoNodes, "three nodes": threeNodes, ...versioned } = servers;
  const machine = await describeMachine(dir, [...Object.values(versioned), ...stores]);
  const bench: Bench = {
    quick: options.quick,
    rounds: options.quick ? 1 : 3,
    seconds: options.quick ? 2 : 5,
    many: options.quick ? 5000 : 100_000,
    dir,
    sources,
    holdfast: servers.holdfast,
    allNodes: twoNodes ?? threeNodes,
    distribution: servers.distribution,
    nginx: servers.nginx,
    stores,
    another: (name, workers) =>
      startHoldfast({ dir: join(dir, name), port: options.port + 100 }, workers),
    peaks: new Map(),
    progress,
  };
  const lines: Line[] = [];
  const targets: Target[] = [];
  const counts: Count[] = [];
  const broken: string[] = [];
  const report = { heading, machine, quick: options.quick, lines, targets, counts, broken };
  for (const figure of suite.figures) {
    if (options.only.length > 0 && !options.only.includes(figure.id)) continue;
    progress(`figure ${figure.id}: ${figure.title}`);
    try {
      const result = await figure.run(bench);
      lines.push(...result.lines);
      targets.push(...result.targets);
      counts.push(...(result.counts ?? []));
    } catch (error) {
      broken.push(`figure ${figure.id}, ${figure.title}: ${describe(error)}`);
      progress(`${broken.at(-1)}\n`);
    }
    writeReport(options.out, report);
  }
  progress("\n");
  console.log(markdown(report));
  console.log(`Written to ${options.out}/${heading.name}.md and ${heading.name}.json`);
  return broken.length === 0;
};

for (const [signal, code] of [
  ["SIGINT", 130],
  ["SIGTERM", 143],
] as const)
  process.on(signal, () => {
    cleanUp();
    process.exit(code);
  });

try {
  const options = parseOptions(Bun.argv.slice(2), resolve(import.meta.dir, ".."));
  if (options === undefined) console.log(usage);
  else process.exitCode = (await run(options)) ? 0 : 1;
} catch (error) {
  console.error(`\nbench: ${describe(error)}`);
  process.exitCode = 1;
} finally {
  cleanUp();
}
process.exit();
