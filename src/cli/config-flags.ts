import { writeSync } from "node:fs";
import { Option, type Command } from "commander";
import { ConfigError } from "../config/config.ts";
import type { Environment } from "../config/env.ts";
import { configFlags, type FlagOption, type FlagValues } from "../config/flags.ts";
import { knownKeys } from "../config/keys.ts";
import { loadConfig, type Loaded } from "../config/load.ts";

/** What commander gives for the flags of `addConfigFlags`. */
export type ConfigOptions = FlagValues & { readonly config?: string };

/** Adds `--config` and the flags of the common keys, or only some of them, to a command. */
export function addConfigFlags(command: Command, only?: readonly FlagOption[]): Command {
  command.addOption(
    new Option(
      "-c, --config <file>",
      "YAML configuration file, Holdfast's or distribution's config.yml (default: none; or HOLDFAST_CONFIG)",
    ),
  );
  for (const { flag, argument, option: name, key, repeatable } of configFlags) {
    if (only && !only.includes(name)) continue;
    const known = knownKeys.get(key);
    const option = new Option(
      `${flag} <${argument}>`,
      `${known?.description ?? ""} It takes ${known?.form ?? ""}${repeatable ? "; give the flag once for each" : ""} (key: ${key}).`,
    );
    if (repeatable)
      option.argParser<readonly string[] | undefined>((text, earlier) => [
        ...(earlier ?? []),
        text,
      ]);
    command.addOption(option);
  }
  return command;
}

/**
 * Loads the configuration for a command line. When it cannot be used, every problem is printed to the standard error as
 * one sentence, and the process ends with code 2.
 */
export function configFromFlags(
  options: ConfigOptions,
  env: Environment,
  cwd: string = process.cwd(),
): Loaded {
  try {
    const { config, ...flags } = options;
    return loadConfig({ file: config, env, flags, cwd });
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    writeSync(2, `${error.message}\n`);
    return process.exit(2);
  }
}
