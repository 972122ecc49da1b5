/** Which run this disk and its bucket belonged to last: it tells whether the disk is as good as the journal. */
import { readFileSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { dirname, join } from "node:path";
import type { Config } from "../config/config.ts";
import { metadataPath } from "./stores.ts";

export interface LastRun {
  readonly run: string;
  /** It ran on this machine since it was started: whoever holds the disk's lock now knows it to be dead. */
  readonly here: boolean;
}

function runPath(config: Config): string {
  return join(dirname(metadataPath(config)), "owner");
}

export function lastRun(config: Config): LastRun | undefined {
  try {
    const [run = "", place] = readFileSync(runPath(config), "utf8").split("\n");
    return { run, here: place === thisPlace() };
  } catch {
    return undefined;
  }
}

export function rememberRun(config: Config, run: string): void {
  writeFileSync(runPath(config), `${run}\n${thisPlace()}\n`);
}

/** A copy of the disk elsewhere has another one, and so has this machine after its next start. */
function thisPlace(): string {
  return `${hostname()} ${readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim()}`;
}
