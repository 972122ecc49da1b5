import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { processTree } from "./processes.ts";

/** What a server's whole process tree used while some work ran. Seconds and bytes. */
export interface Usage {
  readonly cpuSeconds: number;
  readonly peakPss: number;
  readonly peakRss: number;
  /** The highest RSS of one of them alone: of a node. */
  readonly peakNodeRss: number;
}

/** USER_HZ is 100 on every Linux that Bun runs on (proc(5)). */
const ticksPerSecond = 100;
const samplePeriod = 200;

/** One process or several, each with all its descendants. */
export type Processes = number | readonly number[];

/** Without those below `apart`, which are counted by themselves. */
const treesOf = (processes: Processes, apart: Processes): number[] => {
  const without = [apart].flat();
  return [processes].flat().flatMap((pid) => processTree(pid, without));
};

/** utime + stime of all processes, in seconds (proc(5): fields 14 and 15 of stat). */
export const cpuSeconds = (pid: Processes, apart: Processes = []): number => {
  let ticks = 0;
  for (const id of treesOf(pid, apart)) {
    try {
      const stat = readFileSync(`/proc/${id}/stat`, "utf8");
      const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
      ticks += Number(fields[11]) + Number(fields[12]);
    } catch {
      // it has ended since the tree was read
    }
  }
  return ticks / ticksPerSecond;
};

/** PSS and RSS of them in bytes. Read asynchronously, so that a client in this process goes on. */
export const memory = async (
  pid: Processes,
  apart: Processes = [],
): Promise<{ pss: number; rss: number }> => {
  const total = { pss: 0, rss: 0 };
  const rollups = treesOf(pid, apart).map((id) =>
    readFile(`/proc/${id}/smaps_rollup`, "utf8").catch(() => ""),
  );
  for (const rollup of await Promise.all(rollups)) {
    total.pss += Number(/^Pss:\s+(\d+)/m.exec(rollup)?.[1] ?? 0) * 1024;
    total.rss += Number(/^Rss:\s+(\d+)/m.exec(rollup)?.[1] ?? 0) * 1024;
  }
  return total;
};

export const measured = async <T>(
  pid: Processes,
  work: () => Promise<T>,
  apart: Processes = [],
): Promise<{ readonly value: T; readonly usage: Usage }> => {
  const peak = { peakPss: 0, peakRss: 0, peakNodeRss: 0 };
  const finished = new AbortController();
  const sample = async (): Promise<void> => {
    const nodes = await Promise.all([pid].flat().map(async (node) => memory(node, apart)));
    const sum = (of: (one: { pss: number; rss: number }) => number): number =>
      nodes.reduce((total, node) => total + of(node), 0);
    peak.peakPss = Math.max(
      peak.peakPss,
      sum(({ pss }) => pss),
    );
    peak.peakRss = Math.max(
      peak.peakRss,
      sum(({ rss }) => rss),
    );
    peak.peakNodeRss = Math.max(peak.peakNodeRss, ...nodes.map(({ rss }) => rss));
  };
  await sample();
  const sampler = (async () => {
    while (!finished.signal.aborted) {
      await Bun.sleep(samplePeriod);
      await sample();
    }
  })();
  const before = cpuSeconds(pid, apart);
  try {
    const value = await work();
    const used = cpuSeconds(pid, apart) - before;
    await sample();
    return { value, usage: { cpuSeconds: used, ...peak } };
  } finally {
    finished.abort();
    await sampler;
  }
};
