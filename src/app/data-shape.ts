/** A data directory belongs to a node of a cluster or to none, and is never opened as the other. */
import { existsSync } from "node:fs";
import { IDENTITY_FILE } from "../cluster/membership/identity-file.ts";
import { join } from "node:path";
import type { Config } from "../config/config.ts";
import { StartError } from "./start-error.ts";
import { metadataPath } from "./stores.ts";

/** Before anything is written there. Throws `StartError`. */
export function refuseOtherShape(config: Config): void {
  const { data, stores } = config;
  const isOfCluster = existsSync(join(data, IDENTITY_FILE));
  if (stores.kind !== "cluster" && isOfCluster)
    throw new StartError(
      `${data} is that of a node of a cluster, and the configuration has no section cluster: start it with the ` +
        `configuration of that node, or name another data directory (--data)`,
    );
  if (stores.kind === "cluster" && !isOfCluster && existsSync(metadataPath(config)))
    throw new StartError(
      `${data} holds a registry of the shape solo, which cannot become a node of a cluster in this version: ` +
        `name another data directory (--data), and copy the images over with skopeo sync or crane copy`,
    );
}
