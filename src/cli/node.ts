import { Command } from "commander";
import type { NodeAction } from "../app/cluster-status.ts";
import { addConfigFlags, configFromFlags, type ConfigOptions } from "./config-flags.ts";
import { askServer, runOnStores, say } from "./run.ts";
import { nodeTable } from "./status-text.ts";

const help = `
Asks the node that runs on this machine, through admin.sock in its data directory; any node of the cluster will do.

Examples:
  holdfast node list
      The nodes, one a line; \`holdfast status\` says more.
  holdfast node drain n3
      n3 takes no new copies, and the others take over those it has; until \`holdfast status\` says that nothing on it
      is still needed. It goes on answering clients. Taken back with: holdfast node undrain n3
  holdfast node remove n3
      n3 is no node of the cluster any more. Refused while copies on it are still needed: drain it first, or, where it
      is dead, wait until the others have made up for it. --force does it all the same. Refused in any case where those
      that are left would have no majority.
  holdfast node remove 10.0.0.4:5081
      A machine that was let in and never came up, by the address of its etcd, as the log of the others names it.

  holdfast node recover --force --config cluster.yml
      The majority is lost for good: this stopped node goes on alone, and the others join it anew. Without --force it
      says what may be lost.

A node is added by starting it with cluster.join in its configuration.

Exit codes: 0 done, 1 refused, or no node answers, 2 the flags or the configuration cannot be used.`;

interface NodeFlags extends ConfigOptions {
  readonly json?: boolean;
  readonly force?: boolean;
}

/** `holdfast node`: the machines of a cluster. */
export function nodeCommand(): Command {
  return new Command("node")
    .description("list, drain or remove the nodes of the cluster")
    .addHelpText("after", help)
    .addCommand(listCommand())
    .addCommand(actionCommand("drain", "let the others take over what a node holds"))
    .addCommand(actionCommand("undrain", "let a node take copies again"))
    .addCommand(recoverCommand())
    .addCommand(
      actionCommand("remove", "take a node out of the cluster for good").option(
        "--force",
        "also where copies are lost with it",
      ),
    );
}

function listCommand(): Command {
  const command = new Command("list")
    .description("print the nodes, one a line")
    .option("--json", "print them as JSON");
  return addConfigFlags(command, ["data"]).action(async (all: NodeFlags) => {
    const { json = false, ...options } = all;
    const { config } = configFromFlags(options, process.env);
    await askServer(async () => {
      const { clusterStatus } = await import("../app/cluster-client.ts");
      const { nodes } = await clusterStatus(config.data);
      if (json) say(JSON.stringify(nodes, null, 2));
      else for (const line of nodeTable(nodes)) say(line);
      return 0;
    });
  });
}

const loss = `Nothing was changed. This gives up the cluster's other members for good: what their majority acknowledged
and this node has not received is lost, and so are blobs without a copy on the nodes that are left. Stop all nodes,
choose the one whose log ends last, and say it with --force. Then start it, and on each of the others move
<data>/etcd away and start it: it joins anew and keeps its blobs.`;

function recoverCommand(): Command {
  const command = new Command("recover")
    .description("go on with this node alone, when the majority of the cluster is lost for good")
    .option("--force", "having read what may be lost");
  return addConfigFlags(command).action(async (all: NodeFlags) => {
    const { force = false, ...options } = all;
    if (!force) {
      say(loss);
      process.exitCode = 1;
      return;
    }
    const { config } = configFromFlags(options, process.env);
    await runOnStores("recover", config, async (log) => {
      const { recoverNode } = await import("../app/recover-node.ts");
      const { was, cluster } = await recoverNode(config, log);
      say(`This node goes on as cluster ${cluster} (it was ${was}). Start it now.`);
      return 0;
    });
  });
}

function actionCommand(action: NodeAction, description: string): Command {
  const command = new Command(action)
    .description(description)
    .argument("<name>", "the node, as `holdfast node list` has it");
  return addConfigFlags(command, ["data"]).action(async (name: string, all: NodeFlags) => {
    const { force = false, ...options } = all;
    const { config } = configFromFlags(options, process.env);
    await askServer(async () => {
      const { nodeAction } = await import("../app/cluster-client.ts");
      say(`${(await nodeAction(config.data, name, action, { force })).message}.`);
      return 0;
    });
  });
}
