import { Command } from "commander";
import type { RestoredBackup } from "../app/restored-backup.ts";
import { addConfigFlags, configFromFlags, type ConfigOptions } from "./config-flags.ts";
import { showingJournal } from "./progress.ts";
import { runOnStores, say } from "./run.ts";
import { plural } from "./units.ts";

const help = `
Fills an empty store from a file that \`holdfast backup\` has made. What has been pushed since then is not in it. Blobs
that are still on the disks, or in the bucket, are found where they are; those without a copy are named.

In a cluster: stop all nodes, move etcd and cluster.json out of the data directory of each, if they are there (the
blobs may stay, or be gone), start all but one, and run this on that one, with its configuration: it forms the cluster
with the others, fills it and ends; then start the node. Until the cluster is filled nobody is served. Of blobs that a
registry had that was alone, the small ones are found on its own disk only: run it there.

In a cluster whose etcd is your own (cluster.etcd.endpoints): stop all nodes, remove all that begins with
cluster.etcd.prefix from etcd (etcdctl del --prefix holdfast/), run this on one of them, then start them all.

Without a cluster: stop every node. The metadata in the data directory, or the database, has to be empty.

Examples:
  holdfast restore /backup/registry-2026-11-21.tar --config /etc/holdfast/holdfast.yml

Interrupted, it is run again and starts anew.

Exit codes: 0 done, 1 not done (the last line says why), 2 the flags or the configuration cannot be used.`;

/** `holdfast restore`: the metadata back from a backup. */
export function restoreCommand(): Command {
  const command = new Command("restore")
    .description("fill an empty registry, or a new cluster, with the metadata of a backup")
    .argument("<file>", "what holdfast backup has written")
    .addHelpText("after", help);
  return addConfigFlags(command).action(async (file: string, options: ConfigOptions) => {
    const { config } = configFromFlags(options, process.env);
    const { restoreBackup } = await import("../app/restore.ts");
    await runOnStores("restore", config, async (log, signal) => {
      const restored = await showingJournal((progress) =>
        restoreBackup({ config, file, log, signal, progress }),
      );
      for (const line of report(restored)) say(line);
      return 0;
    });
  });
}

function report({ entries, at, kept, lost, unasked, silent }: RestoredBackup): string[] {
  const lines = [`Done: ${plural(entries, "record")}, as of ${new Date(at).toISOString()}.`];
  if (kept !== undefined) lines.push(`What was there before is in ${kept}.`);
  for (const name of silent) lines.push(`${name} did not say which blobs it has.`);
  if (unasked !== undefined)
    return [
      ...lines,
      `Blobs without a copy were not looked for: ${unasked}. Once all nodes run, see \`holdfast status\`.`,
    ];
  if (lost === undefined) return [...lines, "See with `holdfast verify` which blobs are missing."];
  if (lost.lost === 0) return [...lines, `${plural(lost.named, "blob")} named, none lost.`];
  lines.push(
    `${lost.lost} of ${plural(lost.named, "blob")} named have no copy ${silent.length === 0 ? "anywhere" : "where it could be looked for"}:`,
  );
  for (const { digest, repository } of lost.examples)
    lines.push(`  ${digest}${repository === undefined ? "" : ` (of ${repository})`}`);
  if (lost.lost > lost.examples.length)
    lines.push(`  and ${lost.lost - lost.examples.length} more`);
  return [...lines, "What needs them can be pulled again once it has been pushed again."];
}
