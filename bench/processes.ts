import { readFileSync } from "node:fs";

/** Every process the bench has started and not yet seen end. */
const running = new Set<Bun.Subprocess>();

export interface SpawnOptions {
  readonly cwd?: string;
  readonly env?: Record<string, string | undefined>;
  /** Path of a file that receives stdout and stderr; without it stdout is returned by `output`. */
  readonly log?: string;
}

export const start = (command: readonly string[], options: SpawnOptions = {}): Bun.Subprocess => {
  const sink = options.log === undefined ? "ignore" : Bun.file(options.log);
  const child = Bun.spawn([...command], {
    stdin: "ignore",
    stdout: sink,
    stderr: sink,
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    ...(options.env === undefined ? {} : { env: options.env }),
  });
  running.add(child);
  void child.exited.finally(() => running.delete(child));
  return child;
};

/** Runs a command to its end and returns its stdout; throws with its stderr when it fails. */
export const output = async (command: readonly string[]): Promise<string> => {
  const child = Bun.spawn([...command], { stdin: "ignore", stdout: "pipe", stderr: "pipe" });
  running.add(child);
  try {
    const [out, err, code] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
      child.exited,
    ]);
    if (code !== 0)
      throw new Error(`${command[0]} ended with ${code}: ${err.trim() || out.trim()}`);
    return out;
  } finally {
    running.delete(child);
  }
};

/** A process and all its descendants, the process first; empty when it has ended, or is one of `without`. */
export const processTree = (pid: number, without: readonly number[] = []): number[] => {
  if (without.includes(pid)) return [];
  try {
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").split(" ");
    return [
      pid,
      ...children.filter((id) => id !== "").flatMap((id) => processTree(Number(id), without)),
    ];
  } catch {
    return [];
  }
};

const signal = (pid: number, name: "SIGTERM" | "SIGKILL"): void => {
  try {
    process.kill(pid, name);
  } catch {
    // it has ended meanwhile
  }
};

/** SIGTERM to the process; after `patience` ms SIGKILL to whatever is left of its tree. */
export const stop = async (child: Bun.Subprocess, patience = 10_000): Promise<void> => {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const tree = processTree(child.pid);
  signal(child.pid, "SIGTERM");
  await Promise.race([child.exited, Bun.sleep(patience)]);
  if (child.exitCode === null && child.signalCode === null) {
    for (const pid of tree) signal(pid, "SIGKILL");
    await child.exited;
  }
};

/** Synchronous, for the way out: nothing the bench started outlives it. */
export const killAll = (): void => {
  for (const child of running) for (const pid of processTree(child.pid)) signal(pid, "SIGKILL");
};
