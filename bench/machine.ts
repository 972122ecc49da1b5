import { readFileSync } from "node:fs";
import { cpus, release, totalmem } from "node:os";
import { output } from "./processes.ts";

/** What the figures were measured on; they mean little without it. */
export interface Machine {
  readonly date: string;
  readonly command: string;
  readonly commit: string;
  readonly cpu: string;
  /** The cores that servers and clients share. */
  readonly cores: string;
  readonly memoryGb: number;
  readonly kernel: string;
  readonly disk: string;
  readonly versions: Readonly<Record<string, string>>;
}

const attempt = async (command: readonly string[]): Promise<string> => {
  try {
    return (await output(command)).trim();
  } catch {
    return "unknown";
  }
};

export const describeMachine = async (
  dir: string,
  servers: readonly { readonly name: string; readonly version: string }[],
): Promise<Machine> => {
  const versions: Record<string, string> = { bun: Bun.version };
  for (const { name, version } of servers) versions[name] = version;
  return {
    date: new Date().toISOString(),
    command: `bun bench/main.ts ${process.argv.slice(2).join(" ")}`.trim(),
    commit: await attempt(["git", "-C", import.meta.dir, "describe", "--always", "--dirty"]),
    cpu: cpus()[0]?.model ?? "unknown",
    cores: /Cpus_allowed_list:\s*(\S+)/.exec(readFileSync("/proc/self/status", "utf8"))?.[1] ?? "",
    memoryGb: Math.round(totalmem() / 1e9),
    kernel: release(),
    disk: await attempt(["findmnt", "-no", "SOURCE,FSTYPE,OPTIONS", "-T", dir]),
    versions,
  };
};
