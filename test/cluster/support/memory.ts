/** What the processes of a node take, without its etcd. */
import { readFileSync } from "node:fs";
import type { TestNode } from "../../support/cluster.ts";
import { descendants } from "../../support/processes.ts";

/** Resident megabytes by process id, the parent's first. */
export function residentOf({ pid }: TestNode): Map<number, number> {
  const ours = [pid, ...descendants(pid)].filter((one) =>
    textOf(one, "cmdline").includes("/main.ts"),
  );
  return new Map(
    ours.map((one) => [one, Number(/VmRSS:\s+(\d+) kB/.exec(textOf(one, "status"))?.[1]) / 1024]),
  );
}

function textOf(pid: number, file: "cmdline" | "status"): string {
  return readFileSync(`/proc/${pid}/${file}`, "utf8");
}
