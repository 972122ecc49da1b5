import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { processTree } from "./processes.ts";

/** What a server's whole process tree used while some work ran. Seconds and bytes. */
export interface Usage {
  readonly cpuSeconds: number;
  readonly peakPss: number;
  readonly peakRss: number;
}

/** USER_HZ is 100 on every Linux that Bun runs on (proc(5)). */
const ticksPerSecond = 100;
const samplePeriod = 200;

/** One process or several, each with all its descendants. */
export type Processes = number | readonly number[];

const treesOf = (processes: Processes): number[] =>
  [processes].flat().flatMap((pid) => processTree(pid));

/** utime + stime of all processes, in seconds (proc(5): fields 14 and 15 of stat). */
export const cpuSeconds = (pid: Processes): number => {
  let ticks = 0;
  for (const id of treesOf(pid)) {
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
export const memory = async (pid: Processes): Promise<{ pss: number; rss: number }> => {
  const total = { pss: 0, rss: 0 };
  const rollups = treesOf(pid).map((id) =>
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
): Promise<{ readonly value: T; readonly usage: Usage }> => {
  const peak = await memory(pid);
  const finished = new AbortController();
  const sample = async (): Promise<void> => {
    const now = await memory(pid);
    peak.pss = Math.max(peak.pss, now.pss);
    peak.rss = Math.max(peak.rss, now.rss);
  };
  const sampler = (async () => {
    while (!finished.signal.aborted) {
      await Bun.sleep(samplePeriod);
      await sample();
    }
  })();
  const before = cpuSeconds(pid);
  try {
    const value = await work();
    const used = cpuSeconds(pid) - before;
    await sample();
    return { value, usage: { cpuSeconds: used, peakPss: peak.pss, peakRss: peak.rss } };
  } finally {
    finished.abort();
    await sampler;
  }
};
