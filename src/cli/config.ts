import { writeSync } from "node:fs";
import { Command } from "commander";
import type { Config } from "../config/config.ts";
import { configSchemaJson } from "../config/keys.ts";
import { printConfig } from "../config/print.ts";
import { addConfigFlags, configFromFlags, type ConfigOptions } from "./config-flags.ts";

const help = `
Where values come from, the first wins:
  1. flags                          --data /srv/images
  2. HOLDFAST_ variables            HOLDFAST_LOG_LEVEL=debug sets log.level; lists and maps as JSON
  3. REGISTRY_ variables            those of distribution, where they mean something here
  4. the file                       --config or HOLDFAST_CONFIG; Holdfast's own, or distribution's config.yml
  5. defaults

Exit codes: 0 the configuration is good, 2 it cannot be used (each problem is one line on the standard error).`;

/** `holdfast config`: look at the configuration without starting anything. */
export function configCommand(): Command {
  const command = new Command("config")
    .description("check, print or describe the configuration")
    .addHelpText("after", help);
  command.addCommand(checkCommand()).addCommand(printCommand()).addCommand(schemaCommand());
  return command;
}

function checkCommand(): Command {
  const command = new Command("check")
    .description(
      "say whether the configuration, TLS files included, can be used, and what of it is skipped",
    )
    .argument("[file]", "configuration file, as with --config");
  return addConfigFlags(command, ["data"]).action(
    async (argument: string | undefined, options: ConfigOptions) => {
      const named = argument === undefined ? options : { ...options, config: argument };
      const { config, file, notices } = configFromFlags(named, process.env);
      const warning = await checkCertificate(config);
      for (const notice of [...notices, ...warning]) process.stderr.write(`${notice}\n`);
      const checked = file ?? "no file: defaults, variables and flags";
      process.stdout.write(`The configuration is good (${checked}).\n`);
    },
  );
}

/** What is to be said about the TLS pair. Ends the process with code 2 where it cannot be used. */
async function checkCertificate({ tls }: Config): Promise<string[]> {
  if (!tls) return [];
  const { expiryWarning, readCertificate } = await import("../app/certificate.ts");
  try {
    const warning = expiryWarning(tls.cert, await readCertificate(tls));
    return warning === undefined ? [] : [`${warning}.`];
  } catch (error) {
    writeSync(2, `${error instanceof Error ? error.message : String(error)}.\n`);
    return process.exit(2);
  }
}

function printCommand(): Command {
  const command = new Command("print").description(
    "print the whole configuration in effect as YAML, and who set each value",
  );
  return addConfigFlags(command).action((options: ConfigOptions) => {
    const { config, sources, notices } = configFromFlags(options, process.env);
    for (const notice of notices) process.stderr.write(`${notice}\n`);
    process.stdout.write(printConfig(config, sources));
  });
}

function schemaCommand(): Command {
  return new Command("schema")
    .description("print the JSON Schema of the configuration file, for editors and checkers")
    .action(() => {
      process.stdout.write(`${JSON.stringify(configSchemaJson(), null, 2)}\n`);
    });
}
