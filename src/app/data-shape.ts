/** A data directory that is that of a node of a cluster is opened as nothing else; one of solo may become one. */
import { existsSync, readFileSync } from "node:fs";
import { IDENTITY_FILE } from "../cluster/membership/identity-file.ts";
import { join } from "node:path";
import type { Config } from "../config/config.ts";
import { StartError } from "./start-error.ts";

/** Before anything is written there. Throws `StartError`. */
export function refuseOtherShape(config: Config): void {
  const { data, stores } = config;
  const isOfCluster = existsSync(join(data, IDENTITY_FILE));
  if (stores.kind === "cluster" || !isOfCluster) return;
  const remedy = isMember(data)
    ? "or name another data directory (--data)"
    : `or, since it has not become a member yet, remove ${IDENTITY_FILE} there`;
  throw new StartError(
    `${data} is that of a node of a cluster, and the configuration has no section cluster: start it with the ` +
      `configuration of that node, ${remedy}`,
  );
}

function isMember(data: string): boolean {
  try {
    const { phase } = JSON.parse(readFileSync(join(data, IDENTITY_FILE), "utf8")) as {
      readonly phase?: string;
    };
    return phase === "member";
  } catch {
    return true;
  }
}
