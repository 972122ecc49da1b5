/** Running `holdfast` to its end. */
import { BUN, MAIN } from "./processes.ts";

export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** Run as the user nobody without any capability; needs root. */
  readonly asNobody?: boolean;
  /** Milliseconds after which it is killed; default 15 s. */
  readonly timeout?: number;
}

/** Runs `holdfast` with these arguments until it ends. */
export async function runHoldfast(
  args: readonly string[],
  options: RunOptions = {},
): Promise<Ended> {
  const prefix =
    options.asNobody === true
      ? ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all"]
      : [];
  const child = Bun.spawn([...prefix, BUN, MAIN, ...args], {
    cwd: options.cwd ?? "/",
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    timeout: options.timeout ?? 15_000,
    killSignal: "SIGKILL",
    env: { PATH: process.env["PATH"] ?? "", HOLDFAST_METRICS_LISTEN: "off", ...options.env },
  });
  const [stdout, stderr] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  await child.exited;
  return { code: child.exitCode, stdout, stderr };
}
