/** The etcd of this node as a process: started, listened to, started again when it ends, and ended with us. */
import type { Logger } from "../../base/log.ts";
import { waited } from "../../base/waited.ts";
import { findEtcd, type EtcdBinary } from "./binary.ts";
import { etcdArguments, etcdEnvironment, identity, type EtcdOptions } from "./flags.ts";
import { endProcessesWith } from "./leftover.ts";
import { EtcdLog } from "./log-lines.ts";

export interface EtcdProcessOptions {
  /** Path of the program (`cluster.etcd.binary`); default `etcd` on the PATH. Looked at anew for every start. */
  readonly binary?: string | undefined;
  readonly etcd: EtcdOptions;
  readonly log: Logger;
  /** Called once the others have removed this member. */
  readonly onRemoved?: () => void;
}

export interface EtcdProcessState {
  /**
   * `waiting`: it ended unasked, and is started again shortly. `removed`: the others have removed this member, and
   * with these data it is not started again: they must go before it is added anew.
   */
  readonly kind: "running" | "waiting" | "removed" | "stopped";
  /** Of the program that was started last. */
  readonly version: string;
  /** How many times it was started again. */
  readonly restarts: number;
  /** How it ended last, unless asked to: the exit code or signal, and its last error line. */
  readonly lastEnd: string | undefined;
}

const BACKOFF_MS = 200;
const BACKOFF_MAX_MS = 10_000;
/** Who has run this long had no trouble starting. */
const SETTLED_MS = 30_000;
const STOP_MS = 10_000;

type Child = Bun.Subprocess<"ignore", "ignore", "pipe">;

/** A process, and what it says. */
interface Run {
  readonly child: Child;
  readonly said: EtcdLog;
  /** Resolves when it has ended and all that it said was read. */
  readonly ended: Promise<void>;
}

export class EtcdProcess {
  readonly #options: EtcdProcessOptions;
  /** What comes before the program in a command: lets the kernel end it with us, where it can. */
  readonly #holder: readonly string[];
  readonly #stopped = new AbortController();
  readonly #kept: Promise<void>;
  #run: Run | undefined;
  #version: string;
  #restarts = 0;
  #wasRemoved = false;
  #lastEnd: string | undefined;

  /**
   * Ends what an earlier run of this node left behind, and starts etcd. Resolves when the process is there, not when
   * it serves. Throws `EtcdUnfit` where there is no program that will do. To be called on the main thread.
   */
  static async start(options: EtcdProcessOptions): Promise<EtcdProcess> {
    const binary = await findEtcd(options.binary);
    const ended = await endProcessesWith(identity(options.etcd), STOP_MS);
    if (ended.length > 0) options.log.warn("ended an etcd that an earlier run left", { ended });
    return new EtcdProcess(options, binary, await deathHolder());
  }

  private constructor(options: EtcdProcessOptions, binary: EtcdBinary, holder: readonly string[]) {
    this.#options = options;
    this.#holder = holder;
    this.#version = binary.version;
    this.#kept = this.#keep(this.#spawn(binary));
  }

  /** `undefined` while there is no process. */
  get pid(): number | undefined {
    return this.#run?.child.pid;
  }

  state(): EtcdProcessState {
    return {
      kind: this.#kind(),
      version: this.#version,
      restarts: this.#restarts,
      lastEnd: this.#lastEnd,
    };
  }

  /** Resolves when it is gone: by SIGTERM, on which a leader hands over, after `patienceMs` by SIGKILL. */
  async stop(patienceMs: number = STOP_MS): Promise<void> {
    this.#stopped.abort();
    this.#run?.child.kill("SIGTERM");
    const kill = setTimeout(() => this.#run?.child.kill("SIGKILL"), patienceMs);
    await this.#kept;
    clearTimeout(kill);
  }

  #kind(): EtcdProcessState["kind"] {
    if (this.#wasRemoved) return "removed";
    if (this.#stopped.signal.aborted) return "stopped";
    return this.#run === undefined ? "waiting" : "running";
  }

  #spawn(binary: EtcdBinary): Run {
    const { etcd, log } = this.#options;
    this.#version = binary.version;
    const command = [...this.#holder, binary.path, ...etcdArguments(etcd, binary.version)];
    const child: Child = Bun.spawn(command, {
      stdio: ["ignore", "ignore", "pipe"],
      env: etcdEnvironment(process.env),
      // A Ctrl-C is for us: etcd must serve until we have finished.
      detached: true,
    });
    const said = new EtcdLog(log);
    const ended = Promise.all([child.exited, said.follow(child.stderr)]).then(() => {});
    log.info("etcd started", { pid: child.pid, version: binary.version });
    this.#run = { child, said, ended };
    return this.#run;
  }

  /** Resolves after `stop`, or once the others have removed this member. */
  async #keep(first: Run): Promise<void> {
    const stopped = this.#stopped.signal;
    let run: Run | undefined = first;
    let backoff = BACKOFF_MS;
    while (true) {
      if (run !== undefined) {
        const lasted = await this.#lasted(run);
        if (stopped.aborted) return;
        if (run.said.wasRemoved) return this.#noteRemoval();
        if (lasted > SETTLED_MS) backoff = BACKOFF_MS;
        this.#options.log.error("etcd ended and is started again", {
          end: this.#lastEnd,
          inSeconds: backoff / 1000,
        });
      }
      if (!(await waited(backoff, stopped))) return;
      backoff = Math.min(2 * backoff, BACKOFF_MAX_MS);
      run = await this.#again();
    }
  }

  #noteRemoval(): void {
    this.#wasRemoved = true;
    this.#options.log.error("etcd ended: the other members have removed this one", {
      data: this.#options.etcd.data,
    });
    this.#options.onRemoved?.();
  }

  /** Waits for its end, and notes it. Resolves to the milliseconds until then. */
  async #lasted({ child, said, ended }: Run): Promise<number> {
    const began = performance.now();
    await ended;
    this.#run = undefined;
    if (!this.#stopped.signal.aborted) {
      const how = String(child.signalCode ?? `exit code ${child.exitCode}`);
      this.#lastEnd = said.lastError === undefined ? how : `${how}: ${said.lastError}`;
    }
    return performance.now() - began;
  }

  /** `undefined` where there is no program, as in the midst of an upgrade, and after `stop`. */
  async #again(): Promise<Run | undefined> {
    try {
      const binary = await findEtcd(this.#options.binary);
      if (this.#stopped.signal.aborted) return undefined;
      this.#restarts++;
      return this.#spawn(binary);
    } catch (error) {
      this.#options.log.error("etcd cannot be started", {
        error: error instanceof Error ? error.message : String(error),
      });
      return undefined;
    }
  }
}

/** `setpriv` of util-linux, if it is there: has the kernel send SIGTERM to what it runs when we die. */
async function deathHolder(): Promise<readonly string[]> {
  const setpriv = Bun.which("setpriv");
  if (setpriv === null) return [];
  const holder = [setpriv, "--pdeathsig", "TERM", "--"];
  // The one of busybox does not know the option.
  const tried = Bun.spawn([...holder, "true"], { stdio: ["ignore", "ignore", "ignore"] });
  return (await tried.exited) === 0 ? holder : [];
}
