import { Command } from "commander";
import { addConfigFlags, configFromFlags, type ConfigOptions } from "./config-flags.ts";
import { askServer, say } from "./run.ts";
import { problemsOf, statusText } from "./status-text.ts";

const help = `
Asks the node that runs on this machine, through admin.sock in its data directory: run it as the user that the server
runs as. The first line is "healthy", or what is wrong and what to do.

Examples:
  holdfast status --config /etc/holdfast/holdfast.yml
      In words. Also, where only the data directory is known: --data /var/lib/holdfast.
  holdfast status --json | jq .healing.underReplicated
      For programs: blobs with fewer copies than they should have; null while that is not known.

Exit codes: 0 healthy, 1 not healthy, or no node answers, 2 the flags or the configuration cannot be used.`;

interface StatusFlags extends ConfigOptions {
  readonly json?: boolean;
}

/** `holdfast status`: how the cluster is. */
export function statusCommand(): Command {
  const command = new Command("status")
    .description("say how the cluster is: nodes, quorum, disks, missing copies")
    .option("--json", "print everything as JSON")
    .addHelpText("after", help);
  return addConfigFlags(command, ["data"]).action(async (all: StatusFlags) => {
    const { json = false, ...options } = all;
    const { config } = configFromFlags(options, process.env);
    await askServer(async () => {
      const { clusterStatus } = await import("../app/cluster-client.ts");
      const status = await clusterStatus(config.data);
      if (json) say(JSON.stringify(status, null, 2));
      else for (const line of statusText(status)) say(line);
      return problemsOf(status).length === 0 ? 0 : 1;
    });
  });
}
