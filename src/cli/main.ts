/** `holdfast`: the commands, and what they say when they fail. */
import { Command } from "commander";
import { VERSION } from "../app/version.ts";
import { adoptCommand } from "./adopt.ts";
import { backupCommand } from "./backup.ts";
import { configCommand } from "./config.ts";
import { nodeCommand } from "./node.ts";
import { rebuildCommand } from "./rebuild.ts";
import { restoreCommand } from "./restore.ts";
import { serveCommand } from "./serve.ts";
import { statusCommand } from "./status.ts";
import { verifyCommand } from "./verify.ts";

const help = `
Start here:
  holdfast serve                          listens on :5000, keeps its data in ./data
  docker tag alpine localhost:5000/alpine
  docker push localhost:5000/alpine

\`holdfast COMMAND --help\` explains each command with examples.`;

/** `argv` as in `process.argv`. */
export async function run(argv: readonly string[]): Promise<void> {
  const program = new Command("holdfast")
    .description("An OCI container registry that keeps what it is given.")
    .version(VERSION, "--version", "print the version")
    .addHelpText("after", help)
    .showHelpAfterError("(holdfast --help explains the commands)")
    .exitOverride((error) => process.exit(error.exitCode === 0 ? 0 : 2));
  program
    .addCommand(serveCommand(VERSION))
    .addCommand(statusCommand())
    .addCommand(nodeCommand())
    .addCommand(adoptCommand())
    .addCommand(backupCommand())
    .addCommand(restoreCommand())
    .addCommand(rebuildCommand())
    .addCommand(verifyCommand())
    .addCommand(configCommand());
  inherit(program, program.name());
  await program.parseAsync(argv);
}

/** commander hands settings down only to the commands that it makes itself. */
function inherit(parent: Command, path: string): void {
  for (const child of parent.commands) {
    child.copyInheritedSettings(parent);
    const name = `${path} ${child.name()}`;
    child.showHelpAfterError(`(${name} --help explains its flags)`);
    inherit(child, name);
  }
}
