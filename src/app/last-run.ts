/** Which run this disk and its bucket belonged to last: it tells whether the disk is as good as the journal. */
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Config } from "../config/config.ts";
import { metadataPath } from "./stores.ts";

function runPath(config: Config): string {
  return join(dirname(metadataPath(config)), "owner");
}

export function lastRun(config: Config): string | undefined {
  try {
    return readFileSync(runPath(config), "utf8").trim();
  } catch {
    return undefined;
  }
}

export function rememberRun(config: Config, run: string): void {
  writeFileSync(runPath(config), `${run}\n`);
}
