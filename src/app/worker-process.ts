/** One worker as its parent sees it: a child process and a conversation. */
import type { Snapshot } from "../base/metrics.ts";
import type { Locator } from "../blobs/port.ts";
import type { FromWorker, ToWorker, WorkerStart } from "./messages.ts";

/** A worker too busy to answer is counted with what it said last. */
const METRICS_PATIENCE_MS = 1000;

/**
 * Bun makes 256 requests at once unless it is told otherwise: as many pushes to a peer that stands still would keep a
 * worker of a cluster from asking etcd.
 */
const REQUESTS_MAX = 65_336;

/** How the process ended, in words: `exit code 1`, `signal SIGKILL`. */
export type Ending = string;

export class WorkerProcess {
  readonly number: number;
  readonly startedAt: number = performance.now();
  /** Resolves when the worker answers requests; rejects with its reason when it cannot start. */
  readonly ready: Promise<void>;
  readonly ended: Promise<Ending>;
  readonly #child: Bun.Subprocess;
  #snapshot: Snapshot = [];
  readonly #asked: ((snapshot: Snapshot) => void)[] = [];

  /** `missing`: as in the message. */
  constructor(start: WorkerStart, missing: (locator: Locator, size: number) => void) {
    this.number = start.worker;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.ready = promise;
    // Whoever waits for the start sees the rejection; for a replacement, `ended` tells enough.
    promise.catch(() => {});
    this.#child = Bun.spawn([process.execPath, Bun.main, "worker"], {
      stdio: ["ignore", "inherit", "inherit"],
      env: { BUN_CONFIG_MAX_HTTP_REQUESTS: `${REQUESTS_MAX}`, ...process.env },
      serialization: "json",
      ipc: (message: FromWorker) => {
        if (message.type === "ready") resolve();
        else if (message.type === "failed") reject(new Error(message.reason));
        else if (message.type === "missing") missing(message.locator, message.size);
        else this.#answered(message.snapshot);
      },
    });
    this.ended = this.#end();
    void this.ended.then((ending) =>
      reject(new Error(`worker ${this.number} ended with ${ending}`)),
    );
    this.send({ type: "start", start });
  }

  get pid(): number {
    return this.#child.pid;
  }

  /** The last metrics that anybody was given. */
  get lastSnapshot(): Snapshot {
    return this.#snapshot;
  }

  send(message: ToWorker): void {
    try {
      this.#child.send(message);
    } catch {
      // It has just ended, and `ended` says so.
    }
  }

  async metrics(): Promise<Snapshot> {
    const { promise, resolve } = Promise.withResolvers<Snapshot>();
    this.#asked.push(resolve);
    if (this.#asked.length === 1) this.send({ type: "metrics" });
    const limit = setTimeout(() => this.#answered(this.#snapshot), METRICS_PATIENCE_MS);
    const snapshot = await promise;
    clearTimeout(limit);
    return snapshot;
  }

  kill(): void {
    this.#child.kill("SIGKILL");
  }

  #answered(snapshot: Snapshot): void {
    this.#snapshot = snapshot;
    for (const resolve of this.#asked.splice(0)) resolve(snapshot);
  }

  async #end(): Promise<Ending> {
    await this.#child.exited;
    this.#answered(this.#snapshot);
    const { signalCode, exitCode } = this.#child;
    return signalCode === null ? `exit code ${exitCode}` : `signal ${signalCode}`;
  }
}
