/** What the commands that work on the stores, or ask the server, have in common. */
import { writeSync } from "node:fs";
import type { OwnLogger } from "../base/log.ts";
import type { Config } from "../config/config.ts";

/** A line on the standard output. */
export function say(line: string): void {
  writeSync(1, `${line}\n`);
}

/**
 * Does the work and ends the process with the exit code that it resolves to. SIGINT and SIGTERM abort `signal`; what
 * stands in the way, a `StartError`, is said in its sentence, with code 1.
 */
export async function runOnStores(
  name: string,
  config: Config,
  work: (log: OwnLogger, signal: AbortSignal) => Promise<number>,
): Promise<never> {
  const [{ StartError }, { openLog }] = await Promise.all([
    import("../app/start-error.ts"),
    import("../app/log.ts"),
  ]);
  const ending = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => ending.abort());
  const log = openLog({ ...config, log: { ...config.log, level: "warn" } }, name);
  let code = 1;
  try {
    code = await work(log, ending.signal);
  } catch (error) {
    if (ending.signal.aborted) say("Not done: it was interrupted; run it again.");
    else if (error instanceof StartError) writeSync(2, `holdfast: ${error.message}\n`);
    else throw error;
  } finally {
    await log.flush();
  }
  return process.exit(code);
}

/** Asks the running server and ends the process with the exit code that `work` resolves to, or with 1 and the reason. */
export async function askServer(work: () => Promise<number>): Promise<never> {
  const { StartError } = await import("../app/start-error.ts");
  let code = 1;
  try {
    code = await work();
  } catch (error) {
    if (!(error instanceof StartError)) throw error;
    writeSync(2, `holdfast: ${error.message}\n`);
  }
  return process.exit(code);
}
