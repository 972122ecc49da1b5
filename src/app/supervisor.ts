/** Keeps the workers running: as many as there should be, replaced when they die, ended together. */
import { randomHex } from "../base/clock.ts";
import type { Logger } from "../base/log.ts";
import type { Locator } from "../blobs/port.ts";
import { cumulative, merge, type Snapshot } from "../base/metrics.ts";
import type { Certificate } from "../http/server.ts";
import type { WorkerStart } from "./messages.ts";
import { StartError } from "./start-error.ts";
import { WorkerProcess, type Ending } from "./worker-process.ts";

/** A worker that lived for so long was sound: it is replaced at once. */
const SOUND_MS = 10_000;
/** So many deaths in a row before that, and something is wrong that a restart does not mend. */
const QUICK_DEATHS_MAX = 5;
const BACKOFF_MS = 100;
/** A worker that is told to end, but hangs, is killed after its time and so much more. */
const HANG_MS = 3000;

export interface SupervisorOptions {
  readonly count: number;
  readonly start: Omit<WorkerStart, "worker" | "run">;
  readonly log: Logger;
  /** Called with the run of each worker that has ended, however. */
  readonly ended: (run: string) => void;
  /** Called for a blob that this node should hold and a worker had to read elsewhere. */
  readonly missing: (locator: Locator, size: number) => void;
  /** Called once, with a sentence, when workers cannot be kept running. */
  readonly failed: (reason: string) => void;
}

export class Supervisor {
  readonly #options: SupervisorOptions;
  readonly #workers = new Map<number, WorkerProcess>();
  readonly #quickDeaths = new Map<number, number>();
  #certificate: Certificate | undefined;
  #cutOff: string | undefined;
  /** What workers that are gone have counted. */
  #past: Snapshot = [];
  #restarts = 0;
  #ending = false;

  constructor(options: SupervisorOptions) {
    this.#options = options;
    this.#certificate = options.start.certificate;
  }

  get alive(): number {
    return this.#workers.size;
  }

  get restarts(): number {
    return this.#restarts;
  }

  /** Process ids by worker number. */
  pids(): ReadonlyMap<number, number> {
    return new Map([...this.#workers].map(([number, worker]) => [number, worker.pid]));
  }

  /** Resolves when every worker answers requests. Throws `StartError` when one cannot. */
  async start(): Promise<void> {
    const numbers = Array.from({ length: this.#options.count }, (_, index) => index + 1);
    const workers = numbers.map((number) => this.#spawn(number));
    try {
      await Promise.all(workers.map((worker) => worker.ready));
    } catch (error) {
      this.kill();
      throw new StartError(error instanceof Error ? error.message : String(error));
    }
  }

  setCertificate(certificate: Certificate): void {
    this.#certificate = certificate;
    for (const worker of this.#workers.values()) worker.send({ type: "certificate", certificate });
  }

  /** Has all workers say so where they are asked whether they are ready; `undefined`: no more. */
  setCutOff(reason: string | undefined): void {
    this.#cutOff = reason;
    for (const worker of this.#workers.values()) worker.send({ type: "cut off", reason });
  }

  /** The sum over all workers, past ones included. */
  async metrics(): Promise<Snapshot> {
    const living = [...this.#workers.values()];
    const snapshots = await Promise.all(living.map((worker) => worker.metrics()));
    // A worker that ended while it was asked is part of the past by now.
    const counted = snapshots.filter((_, at) => {
      const worker = living[at];
      return worker !== undefined && this.#workers.get(worker.number) === worker;
    });
    return merge([this.#past, ...counted]);
  }

  /**
   * Lets all workers finish what is under way, for at most `timeout` ms, and resolves when they have ended:
   * true when each of them did so by itself.
   */
  async drain(timeout: number): Promise<boolean> {
    this.#ending = true;
    const workers = [...this.#workers.values()];
    for (const worker of workers) worker.send({ type: "drain", timeout });
    const hang = setTimeout(() => this.kill(), timeout + HANG_MS);
    const endings = await Promise.all(workers.map((worker) => worker.ended));
    clearTimeout(hang);
    return endings.every((ending) => ending === "exit code 0");
  }

  /** Ends all workers at once. */
  kill(): void {
    this.#ending = true;
    for (const worker of this.#workers.values()) worker.kill();
  }

  #spawn(number: number): WorkerProcess {
    const { start, missing } = this.#options;
    const run = randomHex(8);
    const certificate = this.#certificate;
    const worker = new WorkerProcess({ ...start, worker: number, run, certificate }, missing);
    this.#workers.set(number, worker);
    if (this.#cutOff !== undefined) worker.send({ type: "cut off", reason: this.#cutOff });
    void worker.ended.then((ending) => {
      this.#options.ended(run);
      this.#ended(worker, ending);
    });
    return worker;
  }

  #ended(worker: WorkerProcess, ending: Ending): void {
    const { number } = worker;
    this.#workers.delete(number);
    this.#past = merge([this.#past, cumulative(worker.lastSnapshot)]);
    if (this.#ending) return;
    const quick = performance.now() - worker.startedAt < SOUND_MS;
    const deaths = quick ? (this.#quickDeaths.get(number) ?? 0) + 1 : 0;
    this.#quickDeaths.set(number, deaths);
    if (deaths >= QUICK_DEATHS_MAX) {
      this.#options.failed(
        `worker ${number} ended ${deaths} times right after its start, the last time with ${ending}: the log lines before this one say why`,
      );
      return;
    }
    this.#options.log.error("a worker ended unexpectedly and is replaced", {
      worker: number,
      pid: worker.pid,
      ending,
    });
    this.#restarts++;
    const delay = deaths > 1 ? BACKOFF_MS * 2 ** (deaths - 2) : 0;
    setTimeout(() => {
      if (!this.#ending) this.#spawn(number);
    }, delay);
  }
}
