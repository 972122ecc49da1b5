import { Command, Option } from "commander";
import { parseDuration } from "../config/duration.ts";
import { addConfigFlags, configFromFlags, type ConfigOptions } from "./config-flags.ts";
import { showingJournal } from "./progress.ts";
import { runOnStores, say } from "./run.ts";

const help = `
Everything that metadata says (repositories, tags and their history, manifests, referrers, mounts) is also in the
journal beside the blobs. This command fills an empty database from it. Stop every node first; start them afterwards.

Examples:
  holdfast rebuild --config /etc/holdfast.yml
      The latest state: complete to the last answered push on a bucket, to the last two seconds in a data directory.
  holdfast rebuild --at 2026-11-21T14:00:00Z --config /etc/holdfast.yml
      As it was then; as far back as collection.grace. Also how long ago: --at 90m.

Where the metadata lies in the data directory, what is there is moved aside first and nothing is lost. A database has
to be empty; to keep what it has under another name:
  PostgreSQL    psql DATABASE -c 'ALTER SCHEMA holdfast RENAME TO holdfast_before'
  etcd          choose another metadata.etcd.prefix, or: etcdctl del --prefix holdfast/
Interrupted, it is run again and starts anew.

Exit codes: 0 done, 1 not done (the last line says why), 2 the flags or the configuration cannot be used.`;

interface RebuildFlags extends ConfigOptions {
  readonly at?: string;
}

/** `holdfast rebuild`: the metadata back from the journal. */
export function rebuildCommand(): Command {
  const command = new Command("rebuild")
    .description("rebuild the metadata from the journal beside the blobs")
    .addOption(
      new Option(
        "--at <time>",
        "the state of an earlier time: ISO 8601, or how long ago (90m, 2h)",
      ),
    )
    .addHelpText("after", help);
  return addConfigFlags(command, ["data"]).action(async (all: RebuildFlags) => {
    const { at: written, ...options } = all;
    const at = written === undefined ? undefined : parseTime(written);
    if (at !== undefined && Number.isNaN(at)) {
      command.error(
        `error: --at takes a time such as 2026-11-21T14:00:00Z, or how long ago such as 90m; "${written}" is neither`,
        { exitCode: 2 },
      );
    }
    const { config } = configFromFlags(options, process.env);
    const { rebuild } = await import("../app/rebuild.ts");
    await runOnStores("rebuild", config, async (log, signal) => {
      const { entries, reached, torn, wiped, kept } = await showingJournal((progress) =>
        rebuild({ config, at, log, signal, progress }),
      );
      say(`Done: ${entries} records, as of ${new Date(reached).toISOString()}.`);
      for (const name of torn) say(`The end of the journal was damaged: ${name}.`);
      if (wiped !== undefined)
        say(
          `The database was emptied at ${new Date(wiped).toISOString()}: this is its state before, and not of later.`,
        );
      if (kept !== undefined) say(`What was there before is in ${kept}.`);
      return 0;
    });
  });
}

function parseTime(text: string): number {
  const ago = parseDuration(text);
  return "value" in ago ? Date.now() - ago.value : Date.parse(text);
}
