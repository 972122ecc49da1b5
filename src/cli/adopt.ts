import { writeSync } from "node:fs";
import { Command, Option } from "commander";
import type { OpenControl } from "../app/adoption-client.ts";
import type { FinishEvent } from "../registry/adopt-finish.ts";
import type { AdoptionStatus } from "../registry/adopt-records.ts";
import { addConfigFlags, configFromFlags, type ConfigOptions } from "./config-flags.ts";
import { openProgress } from "./progress.ts";
import { say } from "./run.ts";
import { size } from "./units.ts";

const help = `
\`holdfast serve\` on the data directory or the bucket of distribution (docker-registry) takes over what is there,
without copying it and without changing it. This command looks at that and, when you are sure, ends it.

Examples:
  holdfast adopt --data /var/lib/registry
      How far it is, what was left out and why. Also: --status.
  holdfast adopt --finish --dry-run --data /var/lib/registry
      What is still to be done before the old directory can go, and what would go with it.
  holdfast adopt --finish --data /var/lib/registry
      Checks every blob that nobody has read yet, gives each a place among Holdfast's own (a hard link: no space, no
      copy), then removes docker/registry/v2. Interrupt it at any time and run it again. Distribution cannot serve
      the directory afterwards.

It works while the server runs, through admin.sock in the data directory, and while it does not. On a bucket the
server has to run, and there is nothing to finish: blobs are used where they lie.

Exit codes: 0 done, 1 not done (the last line says why), 2 the flags or the configuration cannot be used.`;

interface AdoptOptions extends ConfigOptions {
  readonly status?: boolean;
  readonly finish?: boolean;
  readonly dryRun?: boolean;
  readonly dropDamaged?: boolean;
}

/** `holdfast adopt`: what became of what distribution left, and the end of it. */
export function adoptCommand(): Command {
  const command = new Command("adopt")
    .description("look at, and end, the adoption of what distribution left")
    .addOption(new Option("--status", "say how far it is (the default)").conflicts("finish"))
    .option("--finish", "take over every blob for good and remove the old directory")
    .option("--dry-run", "with --finish: only say what there is to do")
    .option(
      "--drop-damaged",
      "with --finish: give up blobs whose bytes are not what their digest names",
    )
    .addHelpText("after", help);
  return addConfigFlags(command, ["data"]).action(async (all: AdoptOptions) => {
    const { status: _, finish = false, dryRun = false, dropDamaged = false, ...options } = all;
    if (!finish && (dryRun || dropDamaged))
      command.error("error: --dry-run and --drop-damaged go with --finish", { exitCode: 2 });
    const { config } = configFromFlags(options, process.env);
    const [{ openAdoption }, { StartError }] = await Promise.all([
      import("../app/adoption-client.ts"),
      import("../app/start-error.ts"),
    ]);
    let code: number;
    try {
      await using control = await openAdoption(config);
      code = finish
        ? await runFinish(control, { dryRun, dropDamaged })
        : showStatus(await control.status(), config.data);
    } catch (error) {
      if (!(error instanceof StartError)) throw error;
      writeSync(2, `holdfast: ${error.message}\n`);
      code = 1;
    }
    process.exit(code);
  });
}

function showStatus(status: AdoptionStatus | undefined, data: string): number {
  if (status === undefined) {
    say(
      `Nothing was ever taken over in ${data}, or the bucket that it goes with; \`holdfast serve\` does it where docker/registry/v2 is there.`,
    );
    return 0;
  }
  const { phase, repositories, adopted, manifests, tags, layers, blobs, flaws } = status;
  say(`phase         ${phase}${PHASES[phase]}`);
  say(
    `repositories  ${adopted} of ${phase === "listing" ? "a number not known yet" : repositories}`,
  );
  say(`manifests     ${manifests}`);
  say(`tags          ${tags}`);
  say(`blob links    ${layers}`);
  if (blobs) {
    const { foreign, bytes, unverified } = blobs;
    say(`foreign blobs ${foreign} (${size(bytes)}), ${unverified} of them not read yet`);
  }
  const counts = Object.entries(flaws.counts);
  say(`left out      ${counts.reduce((sum, [, count]) => sum + count, 0)}`);
  for (const [kind, count] of counts) say(`  ${count} × ${kind}`);
  for (const { kind, where, reason } of flaws.examples) {
    say(`  - ${kind}: ${where}${reason === undefined ? "" : ` (${reason})`}`);
  }
  return 0;
}

const PHASES = {
  listing: " (naming the repositories; the server goes on with it)",
  indexing: " (taking over repositories; the server goes on with it)",
  done: " (all is taken over; what distribution wrote is as it was)",
  finished: " (the old directory is gone)",
} as const;

async function runFinish(
  control: OpenControl,
  request: { readonly dryRun: boolean; readonly dropDamaged: boolean },
): Promise<number> {
  const ending = new AbortController();
  process.once("SIGINT", () => ending.abort());
  process.once("SIGTERM", () => ending.abort());
  const view = openProgress();
  try {
    for await (const event of control.finish(request, ending.signal)) {
      if (event.type === "plan") showPlan(event);
      else if (event.type === "progress") {
        const { blobs, bytes, total, totalBytes } = event;
        view.show(bytes, totalBytes, `${blobs} of ${total} blobs, ${size(bytes)}`);
      } else if (event.type === "removing") {
        view.end();
        say("All blobs are taken over; the old directory is being removed.");
      } else if (event.type === "damaged") {
        say(`damaged: ${event.digest}: ${event.problem}${event.dropped ? "; given up" : ""}`);
      } else {
        view.end();
        say(
          event.removed ? "Done: the old directory is gone." : `Not done: ${event.reason ?? ""}.`,
        );
        return event.removed || request.dryRun ? 0 : 1;
      }
    }
  } catch (error) {
    view.end();
    if (!ending.signal.aborted) {
      const reason = error instanceof Error ? error.message : String(error);
      say(`Not done: ${reason}; run it again to go on.`);
      return 1;
    }
  }
  view.end();
  say("Not done: it was interrupted; run it again to go on.");
  return 1;
}

function showPlan(plan: Extract<FinishEvent, { type: "plan" }>): void {
  say(
    `${plan.foreign} blobs (${size(plan.bytes)}) are to be taken over, ${plan.unverified} of them to be read first.`,
  );
  if (plan.unreferenced > 0) {
    say(
      `${plan.unreferenced} more (${size(plan.unreferencedBytes)}) belong to nothing that was taken over: they go with the old directory.`,
    );
  }
}
