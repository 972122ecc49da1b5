/** What a finished command printed. */
export interface Output {
  readonly stdout: string;
  readonly stderr: string;
  readonly code: number;
}

export interface CommandOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  readonly stdin?: string | Uint8Array;
  /** Seconds until the command is killed, 60 by default. */
  readonly timeout?: number;
}

const tail = (text: string, characters = 4000): string =>
  text.length > characters ? `…${text.slice(-characters)}` : text;

const report = (argv: readonly string[], output: Output, why: string): string =>
  [
    `$ ${argv.join(" ")}`,
    why,
    "--- stdout",
    tail(output.stdout),
    "--- stderr",
    tail(output.stderr),
  ].join("\n");

/** Runs a command to its end, whatever its exit code. Throws only when it outlives its timeout. */
export async function attempt(
  argv: readonly string[],
  options: CommandOptions = {},
): Promise<Output> {
  const seconds = options.timeout ?? 60;
  const child = Bun.spawn([...argv], {
    env: { ...options.env },
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    stdin: options.stdin === undefined ? "ignore" : new Blob([options.stdin]),
    stdout: "pipe",
    stderr: "pipe",
  });
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    child.kill("SIGKILL");
  }, seconds * 1000);
  try {
    const [stdout, stderr, code] = await Promise.all([
      child.stdout.text(),
      child.stderr.text(),
      child.exited,
    ]);
    const output = { stdout, stderr, code };
    if (late) throw new Error(report(argv, output, `killed after ${seconds} s`));
    return output;
  } finally {
    clearTimeout(timer);
  }
}

/** Runs a command that must succeed. Throws with both its outputs when it does not. */
export async function run(argv: readonly string[], options: CommandOptions = {}): Promise<Output> {
  const output = await attempt(argv, options);
  if (output.code !== 0) throw new Error(report(argv, output, `exit code ${output.code}`));
  return output;
}

/** Runs a command that must fail. Returns what it said; throws when it succeeds. */
export async function refused(
  argv: readonly string[],
  options: CommandOptions = {},
): Promise<string> {
  const output = await attempt(argv, options);
  if (output.code === 0) throw new Error(report(argv, output, "succeeded, but must not"));
  return `${output.stdout}\n${output.stderr}`;
}
