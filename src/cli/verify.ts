import { writeSync } from "node:fs";
import { Command } from "commander";
import type { Drift, DriftPhase, Fate } from "../registry/drift.ts";
import { addConfigFlags, configFromFlags, type ConfigOptions } from "./config-flags.ts";
import { runOnStores, say } from "./run.ts";

const help = `
Looks at every blob record, at every right to show a blob, and at everything stored, and names what disagrees:
  bytes missing    a record names bytes that are gone or of another size
  record missing   a repository shows content that nothing describes
  bytes unknown    a stored blob that no record names, older than uploads.expiry and collection.grace
  ownerless bytes  what a crash or a lost database left in a bucket: bytes of no upload and no blob
  journal          a part of the journal that is damaged, or gone

Examples:
  holdfast verify --config /etc/holdfast.yml
      Only looks.
  holdfast verify --repair --config /etc/holdfast.yml
      Also gives records their bytes back where equal ones are stored, removes unknown and ownerless bytes that are
      older than uploads.expiry and collection.grace, and marks what is lost, so that the next push of it is stored;
      for a damaged journal it writes a new snapshot.

With a database it works beside running nodes; without, stop the server first.

Exit codes: 0 nothing disagrees any more, 1 something does (or the stores failed: the last line says why), 2 the flags
or the configuration cannot be used.`;

interface VerifyFlags extends ConfigOptions {
  readonly repair?: boolean;
}

/** Milliseconds between lines of progress. */
const LINE_MS = 5000;

/** `holdfast verify`: do metadata and stored bytes agree? */
export function verifyCommand(): Command {
  const command = new Command("verify")
    .description("compare the metadata with the stored bytes, both ways")
    .option("--repair", "mend what can be mended")
    .addHelpText("after", help);
  return addConfigFlags(command, ["data"]).action(async (all: VerifyFlags) => {
    const { repair = false, ...options } = all;
    const { config } = configFromFlags(options, process.env);
    const { verify } = await import("../app/verify.ts");
    await runOnStores("verify", config, async (log, signal) => {
      const found = { mended: 0, open: 0 };
      const ownerless = { count: 0, size: 0 };
      let shown = performance.now();
      for await (const event of verify(config, log, { repair, signal })) {
        if (event.type === "drift") {
          say(describe(event.drift));
          found[event.drift.mended === undefined ? "open" : "mended"]++;
        } else if (event.type === "ownerless") {
          const { bytes, fate } = event;
          say(`ownerless bytes: ${bytes.where} (${bytes.size} bytes)${FATES[fate]}`);
          ownerless.count++;
          ownerless.size += bytes.size;
          if (fate !== "young") found[fate === "removed" ? "mended" : "open"]++;
        } else if (event.type === "journal") {
          const { problem, mended } = event;
          const end = mended ? " → a new snapshot makes up for it" : "";
          say(`journal: ${problem.object}: ${problem.problem}${end}`);
          found[mended ? "mended" : "open"]++;
        } else if (performance.now() - shown > LINE_MS) {
          shown = performance.now();
          writeSync(2, `${event.done} ${PHASES[event.phase]}\n`);
        }
      }
      if (ownerless.count > 0)
        say(`Ownerless bytes: ${ownerless.count} found, ${ownerless.size} bytes in all.`);
      say(summary(found));
      return found.open === 0 ? 0 : 1;
    });
  });
}

const PHASES: Readonly<Record<DriftPhase, string>> = {
  records: "records of blobs compared",
  rights: "rights to show a blob compared",
  "stored bytes": "stored blobs compared",
};

const FATES: Readonly<Record<Fate, string>> = {
  removed: " → removed",
  left: "",
  young: " → younger than uploads.expiry or collection.grace: the server removes them later",
};

function describe({ kind, digest, where, mended }: Drift): string {
  return `${kind}: ${digest} (${where})${mended === undefined ? "" : ` → ${mended}`}`;
}

function summary({ mended, open }: { readonly mended: number; readonly open: number }): string {
  if (mended + open === 0) return "Metadata and stored bytes agree.";
  if (open === 0) return `${mended} disagreements, all mended.`;
  const rest = mended === 0 ? "" : `${mended} mended; `;
  return `${rest}${open} disagreements left${mended === 0 ? "; --repair mends what can be mended" : ""}.`;
}
