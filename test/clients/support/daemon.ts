import { closeSync, openSync, readFileSync } from "node:fs";
import { findTool } from "./tools.ts";

/** A background program of a client, as dockerd is docker's. */
export interface Daemon {
  /** SIGTERM, and SIGKILL after ten seconds. Resolves when it has ended. */
  stop(): Promise<void>;
}

export interface DaemonOptions {
  readonly env: Readonly<Record<string, string>>;
  /** Where its output goes. */
  readonly log: string;
  /** Asked until it says true. */
  readonly ready: () => Promise<boolean>;
}

/** Starts a daemon and waits until it is ready, at most 30 seconds; throws with its log otherwise. */
export async function startDaemon(
  [program = "", ...args]: readonly string[],
  options: DaemonOptions,
): Promise<Daemon> {
  const sink = openSync(options.log, "a");
  const child = Bun.spawn([findTool(program) ?? program, ...args], {
    env: { ...options.env },
    stdin: "ignore",
    stdout: sink,
    stderr: sink,
  });
  closeSync(sink);
  const stop = async (): Promise<void> => {
    child.kill("SIGTERM");
    const timer = setTimeout(() => child.kill("SIGKILL"), 10_000);
    await child.exited;
    clearTimeout(timer);
  };
  for (const deadline = Date.now() + 30_000; Date.now() < deadline; await Bun.sleep(100)) {
    if (child.exitCode !== null) break;
    if (await options.ready()) return { stop };
  }
  await stop();
  throw new Error(
    `${program} did not become ready:\n${readFileSync(options.log, "utf8").slice(-4000)}`,
  );
}
