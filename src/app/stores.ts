/** Which engines this shape runs on, and where in the data directory they keep their things. */
import { join } from "node:path";
import type { Config } from "../config/config.ts";
import type { RegistryOptions } from "../registry/context.ts";

export function metadataPath(config: Config): string {
  return join(config.data, "metadata", "holdfast.db");
}

/** Where the parent takes the workers' commits. */
export function committerSocketPath(config: Config): string {
  return join(config.data, "commits.sock");
}

export function registryOptions(config: Config): RegistryOptions {
  return {
    limits: config.limits,
    missingBlobs: config.validation.missingBlobs,
    missingManifests: config.validation.missingManifests,
    uploadExpiry: config.uploads.expiry,
    unnamedFor: Math.max(config.uploads.expiry, config.collection.grace),
  };
}
