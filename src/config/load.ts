import { resolve as absolute } from "node:path";
import type { Config } from "./config.ts";
import { isDistributionFile, readDistribution } from "./distribution.ts";
import { distributionFileVariable, fileVariable, readVariables, type Environment } from "./env.ts";
import { readFlags, type FlagValues } from "./flags.ts";
import { knownKeys } from "./keys.ts";
import { ConfigError, Findings } from "./problem.ts";
import { resolve, thisMachine, type Machine } from "./resolve.ts";
import { readTree } from "./tree.ts";
import { readYamlFile, type YamlFile } from "./yaml-file.ts";

export interface LoadOptions {
  /** The configuration file, as `--config` named it; else `HOLDFAST_CONFIG`, `REGISTRY_CONFIGURATION_PATH`, or none. */
  readonly file?: string | undefined;
  readonly env: Environment;
  readonly flags?: FlagValues;
  /** Directory that relative paths start at; absolute. */
  readonly cwd: string;
  readonly machine?: Machine;
}

export interface Loaded {
  readonly config: Config;
  /** Absolute path of the file that was read, if there was one. */
  readonly file: string | undefined;
  /** For every key, who set it: `holdfast.yml:3`, `HOLDFAST_DATA`, `--data` or `default`. */
  readonly sources: ReadonlyMap<string, string>;
  /** Sentences to log once at the start: what was ignored, and why. */
  readonly notices: readonly string[];
}

/**
 * Reads the whole configuration. Flags win over `HOLDFAST_` variables, these over `REGISTRY_` variables, these over the
 * file, the file over the defaults.
 * @throws ConfigError with one sentence for every problem found.
 */
export function loadConfig(options: LoadOptions): Loaded {
  const { env, cwd, machine = thisMachine } = options;
  const findings = new Findings();
  const file = readFile(options);
  const foreign = file !== undefined && isDistributionFile(file.tree);
  if (file && !foreign)
    readTree(file.tree, (path) => ({ kind: "file", name: file.where(path) }), findings);
  readDistribution(foreign ? file : undefined, env, file === undefined || foreign, findings);
  readVariables(env, findings);
  readFlags(options.flags ?? {}, findings);
  const config = resolve(findings.settings, cwd, machine, findings);
  if (!config || findings.problems.length > 0) throw new ConfigError(findings.problems);
  const sources = new Map(
    [...knownKeys.keys()].map((key) => [key, findings.settings.get(key)?.source.name ?? "default"]),
  );
  return { config: deepFreeze(config), file: file?.name, sources, notices: findings.notices };
}

function readFile({ file, env, cwd }: LoadOptions): YamlFile | undefined {
  const names = [
    ["--config", file],
    [fileVariable, env[fileVariable]],
    [distributionFileVariable, env[distributionFileVariable]],
  ] as const;
  const [source, name] = names.find(([, value]) => value !== undefined) ?? [];
  if (name === "")
    throw new ConfigError([`${source}: it is empty; give it the path of a file, or leave it out.`]);
  return name === undefined ? undefined : readYamlFile(absolute(cwd, name));
}

function deepFreeze<T>(value: T): T {
  if (typeof value === "object" && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const child of Object.values(value)) deepFreeze(child);
  }
  return value;
}
