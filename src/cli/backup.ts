import { Command } from "commander";
import { addConfigFlags, configFromFlags, type ConfigOptions } from "./config-flags.ts";
import { openProgress } from "./progress.ts";
import { runOnStores, say } from "./run.ts";
import { size } from "./units.ts";

const help = `
What the metadata says (repositories, tags and their history, manifests, referrers, mounts), as of the moment of asking;
no bytes of images, and no secrets. Asks the server that runs on this machine, through admin.sock in its data directory:
run it as the user that the server runs as; of a cluster, on any node. The file is a tar archive; it is read back and
on the disk before it has its name.

Examples:
  holdfast backup /backup/registry-$(date +%F).tar --config /etc/holdfast/holdfast.yml
      Also, where only the data directory is known: --data /var/lib/holdfast.
  holdfast backup /backup/latest.tar --force
      In the place of the one before.

It is put back with: holdfast restore FILE

Exit codes: 0 done, 1 not done (the last line says why), 2 the flags or the configuration cannot be used.`;

interface BackupFlags extends ConfigOptions {
  readonly force?: boolean;
}

/** `holdfast backup`: the metadata of a running installation, as one file. */
export function backupCommand(): Command {
  const command = new Command("backup")
    .description("write the metadata of the running server, or cluster, to a file")
    .argument("<file>", "the backup")
    .option("--force", "replace the file where there is one")
    .addHelpText("after", help);
  return addConfigFlags(command, ["data"]).action(async (file: string, all: BackupFlags) => {
    const { force = false, ...options } = all;
    const { config } = configFromFlags(options, process.env);
    const { takeBackup } = await import("../app/backup-client.ts");
    await runOnStores("backup", config, async (_, signal) => {
      const progress = openProgress();
      try {
        const { label, bytes } = await takeBackup({
          data: config.data,
          file,
          force,
          signal,
          progress: (done, total) => progress.show(done, total, `${size(done)} received`),
        });
        progress.end();
        say(`Done: ${file}, ${size(bytes)}, as of ${new Date(label.at).toISOString()}.`);
        return 0;
      } finally {
        progress.end();
      }
    });
  });
}
