/** A real server in processes of its own, for the suites: start, watch, stop, kill. */
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { BUN, MAIN, alive, descendants, freePort, signal, until } from "./processes.ts";

export interface ServerOptions {
  /** Default 2. */
  readonly workers?: number;
  /** Added to the environment; `HOLDFAST_…` variables of the caller's own environment do not reach the server. */
  readonly env?: Readonly<Record<string, string>>;
  /** Added after `serve`. */
  readonly args?: readonly string[];
  /** Data directory; default a new one below the system's temporary directory, removed by `stop`. */
  readonly data?: string;
  readonly port?: number;
  /** Port of `/metrics`; without it there is no such listener. */
  readonly metrics?: number;
  /** "https" where `env` or `args` configure TLS. Default "http". */
  readonly scheme?: "http" | "https";
  /** Let the server write its log to a pipe instead of a file. */
  readonly pipeLog?: boolean;
  /** Milliseconds to wait for `/readyz`. Default 20,000. */
  readonly patience?: number;
}

export interface TestServer extends AsyncDisposable {
  readonly url: string;
  /** `127.0.0.1:PORT`. */
  readonly host: string;
  readonly port: number;
  /** Absolute path of the data directory. */
  readonly data: string;
  /** The parent process. */
  readonly pid: number;
  /** The parent's exit code, or the number of the signal that ended it plus 128. */
  readonly exited: Promise<number>;
  /** Process ids of the workers alive now. */
  workers(): number[];
  /** Everything the server wrote so far, stdout and stderr. */
  logs(): string;
  /** SIGTERM, waits for the end, removes what `startServer` made. Throws when the server does not end with 0. */
  stop(): Promise<void>;
  /** SIGKILL to the parent, then waits until no worker is left. Keeps the data; `stop` still removes it. */
  kill(): Promise<void>;
}

/** Starts `holdfast serve` and resolves when it is ready; throws with the server's log when it does not get there. */
export async function startServer(options: ServerOptions = {}): Promise<TestServer> {
  const home = mkdtempSync(join(tmpdir(), "holdfast-test-"));
  const data = resolve(options.data ?? join(home, "data"));
  const port = options.port ?? freePort();
  const host = `127.0.0.1:${port}`;
  const url = `${options.scheme ?? "http"}://${host}`;
  const log = join(home, "log");
  const sink = openSync(log, "a");
  // A pipe that somebody reads: `cat` ends when the last of the server's processes has.
  const pipe = options.pipeLog === true ? openPipe(join(home, "pipe"), sink) : undefined;
  const child = Bun.spawn(
    [BUN, MAIN, "serve", "--listen", host, "--data", data, ...(options.args ?? [])],
    {
      cwd: home,
      stdin: "ignore",
      stdout: pipe?.end ?? sink,
      stderr: sink,
      env: { ...environment(options), ...options.env },
    },
  );
  closeSync(sink);
  if (pipe) closeSync(pipe.end);

  const logs = (): string => text ?? readFileSync(log, "utf8");
  const workers = (): number[] => descendants(child.pid);
  const exited = child.exited.then((code) => code ?? 128);
  let killed = false;
  let text: string | undefined;

  const kill = async (): Promise<void> => {
    if (killed) return;
    killed = true;
    const all = workers();
    child.kill("SIGKILL");
    await child.exited;
    await until(
      () => !all.some(alive),
      5_000,
      `workers ${all.join(", ")} to end after their parent`,
    );
  };

  const stop = async (): Promise<void> => {
    try {
      if (killed) return;
      killed = true;
      const all = workers();
      const ended = child.exitCode !== null || child.signalCode !== null;
      if (!ended) child.kill("SIGTERM");
      const code = await Promise.race([exited, Bun.sleep(30_000)]);
      if (code === undefined) {
        for (const pid of [child.pid, ...all]) signal(pid, "SIGKILL");
        throw new Error(`the server did not end within 30 s of SIGTERM\n${logs()}`);
      }
      if (code !== 0) throw new Error(`the server ended with ${code}\n${logs()}`);
      await pipe?.drained;
    } finally {
      text = logs();
      rmSync(home, { recursive: true, force: true });
    }
  };

  try {
    await ready(url, child, options.patience ?? 20_000);
  } catch (error) {
    text = logs();
    await kill().finally(() => rmSync(home, { recursive: true, force: true }));
    throw new Error(`${error instanceof Error ? error.message : String(error)}\n${text}`, {
      cause: error,
    });
  }
  return {
    url,
    host,
    port,
    data,
    pid: child.pid,
    exited,
    workers,
    logs,
    stop,
    kill,
    [Symbol.asyncDispose]: stop,
  };
}

function openPipe(path: string, sink: number): { end: number; drained: Promise<number> } {
  Bun.spawnSync(["mkfifo", path]);
  // Read and write, so that opening does not wait for the other side.
  const end = openSync(path, "r+");
  const reader = Bun.spawn(["cat", path], { stdin: "ignore", stdout: sink, stderr: sink });
  return { end, drained: reader.exited };
}

function environment(options: ServerOptions): Record<string, string> {
  const inherited = Object.entries(process.env).filter(
    (entry): entry is [string, string] =>
      entry[1] !== undefined && !/^(HOLDFAST|REGISTRY)_/.test(entry[0]),
  );
  return {
    ...Object.fromEntries(inherited),
    HOLDFAST_WORKERS: String(options.workers ?? 2),
    HOLDFAST_METRICS_LISTEN: options.metrics === undefined ? "off" : `127.0.0.1:${options.metrics}`,
  };
}

async function ready(url: string, child: Bun.Subprocess, patience: number): Promise<void> {
  const deadline = Date.now() + patience;
  while (Date.now() < deadline) {
    if (child.exitCode !== null || child.signalCode !== null)
      throw new Error(`the server ended with ${child.exitCode ?? child.signalCode} at its start`);
    try {
      const response = await fetch(`${url}/readyz`, {
        tls: { rejectUnauthorized: false },
        signal: AbortSignal.timeout(2_000),
        headers: { connection: "close" },
      });
      if (response.ok) return;
    } catch {
      // not listening yet
    }
    await Bun.sleep(20);
  }
  throw new Error(`the server was not ready within ${patience} ms`);
}
