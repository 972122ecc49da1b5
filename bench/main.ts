import { mkdirSync, mkdtempSync, rmSync, statfsSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Bench, Line, Target } from "./bench.ts";
import { figures } from "./figures/index.ts";
import { describeMachine } from "./machine.ts";
import type { Options } from "./options.ts";
import { parseOptions, usage } from "./options.ts";
import { killAll, output } from "./processes.ts";
import { markdown, writeReport } from "./report.ts";
import type { Server, ServerName } from "./servers.ts";
import { startDistribution, startHoldfast, startNginx } from "./servers.ts";

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

const startServers = async (
  options: Options,
  dir: string,
): Promise<Partial<Record<ServerName, Server>>> => {
  const started: Partial<Record<ServerName, Server>> = {};
  for (const [at, name] of options.servers.entries()) {
    progress(`starting ${name}`);
    const place = { dir: join(dir, name), port: options.port + 10 * at };
    mkdirSync(place.dir);
    if (name === "holdfast") started.holdfast = await startHoldfast(place, 2);
    if (name === "distribution") started.distribution = await startDistribution(place);
    if (name === "nginx") started.nginx = await startNginx(place);
  }
  return started;
};

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
  const servers = await startServers(options, dir);
  const machine = await describeMachine(dir, Object.values(servers));
  const bench: Bench = {
    quick: options.quick,
    rounds: options.quick ? 1 : 3,
    seconds: options.quick ? 2 : 5,
    many: options.quick ? 5000 : 100_000,
    dir,
    sources,
    holdfast: servers.holdfast,
    distribution: servers.distribution,
    nginx: servers.nginx,
    another: (name, workers) =>
      startHoldfast({ dir: join(dir, name), port: options.port + 100 }, workers),
    peaks: new Map(),
    progress,
  };
  const lines: Line[] = [];
  const targets: Target[] = [];
  const broken: string[] = [];
  for (const figure of figures) {
    if (options.only.length > 0 && !options.only.includes(figure.id)) continue;
    progress(`figure ${figure.id}: ${figure.title}`);
    try {
      const result = await figure.run(bench);
      lines.push(...result.lines);
      targets.push(...result.targets);
    } catch (error) {
      broken.push(`figure ${figure.id}, ${figure.title}: ${describe(error)}`);
      progress(`${broken.at(-1)}\n`);
    }
    writeReport(options.out, { machine, quick: options.quick, lines, targets, broken });
  }
  progress("\n");
  console.log(markdown({ machine, quick: options.quick, lines, targets, broken }));
  console.log(`Written to ${options.out}/results.md and results.json`);
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
