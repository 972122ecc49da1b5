/**
 * A worker: answers requests on the shared port, reads metadata itself, commits through the parent. It is
 * told everything by its parent and ends with it.
 */
import { systemClock } from "../base/clock.ts";
import { describe, type OwnLogger } from "../base/log.ts";
import { Metrics } from "../base/metrics.ts";
import { createHandler } from "../http/handler.ts";
import { HttpMetrics } from "../http/metrics.ts";
import { HttpServer } from "../http/server.ts";
import { createRegistry } from "../registry/registry.ts";
import { openLog } from "./log.ts";
import type { FromWorker, ToWorker, WorkerStart } from "./messages.ts";
import { refusal } from "./port.ts";
import { ReadinessWatch } from "./readiness.ts";
import { registryOptions } from "./stores.ts";
import { openWorkerStores } from "./open-worker-stores.ts";

interface Running {
  readonly server: HttpServer;
  readonly readiness: ReadinessWatch;
  readonly metrics: Metrics;
  readonly log: OwnLogger;
  close(): Promise<void>;
}

/** Follows the parent's messages until it says to end, or is gone. */
export function runWorker(): void {
  if (process.send === undefined) {
    process.stderr.write("holdfast: a worker is started by `holdfast serve`, not by hand\n");
    process.exit(2);
  }
  // A terminal and a service manager signal the whole group; the parent alone decides what they mean.
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => {});
  // Without its parent there is no writer, and nobody would ever stop it.
  process.on("disconnect", () => process.exit(1));
  let running: Promise<Running> | undefined;
  process.on("message", (message: ToWorker) => {
    running ??= message.type === "start" ? begin(message.start) : undefined;
    void running?.then((worker) => follow(worker, message));
  });
}

function tell(message: FromWorker): void {
  process.send?.(message);
}

async function begin(start: WorkerStart): Promise<Running> {
  const log = openLog(start.config, `worker ${start.worker}`);
  const fatal = (what: string) => (error: unknown) => void giveUp(log, what, error);
  process.on("uncaughtException", fatal("an error that nobody caught ended the worker"));
  process.on("unhandledRejection", fatal("a rejection that nobody handled ended the worker"));
  try {
    const worker = await open(start, log);
    tell({ type: "ready" });
    return worker;
  } catch (error) {
    tell({ type: "failed", reason: error instanceof Error ? error.message : String(error) });
    return giveUp(log, "the worker cannot start", error);
  }
}

async function giveUp(log: OwnLogger, what: string, error: unknown): Promise<never> {
  log.error(what, { error: describe(error) });
  await log.flush();
  return process.exit(1);
}

async function open(start: WorkerStart, log: OwnLogger): Promise<Running> {
  const { config } = start;
  const metrics = new Metrics();
  watchMemory(metrics, start.worker);
  const stores = await openWorkerStores({
    ...start,
    log,
    onMissing: (locator, size) => tell({ type: "missing", locator, size }),
    onLost: () => process.exit(1),
  });
  const { meta, blobs, foreign, bytes, forward } = stores;
  const registry = await createRegistry({
    meta,
    blobs,
    foreign,
    options: registryOptions(config),
    clock: systemClock,
    alarm: (message, fields) => log.error(message, fields),
  });
  const readiness = new ReadinessWatch({ meta, bytes });
  await readiness.check();
  const server = listen(
    start,
    log,
    createHandler({
      registry,
      config,
      log,
      metrics: new HttpMetrics(metrics),
      readiness: () => readiness.now(),
      forward,
    }),
  );
  return {
    server,
    readiness,
    metrics,
    log,
    async close() {
      readiness[Symbol.dispose]();
      await stores[Symbol.asyncDispose]();
    },
  };
}

function listen(
  { listen, certificate }: WorkerStart,
  log: OwnLogger,
  handler: ReturnType<typeof createHandler>,
): HttpServer {
  try {
    return new HttpServer({ listen, handler, certificate, log });
  } catch (error) {
    throw listen.length === 1 && listen[0] ? refusal(listen[0], "--listen", error) : error;
  }
}

function watchMemory(metrics: Metrics, worker: number): void {
  const gauge = metrics.gauge("holdfast_worker_resident_bytes", "Memory resident, by worker.");
  const resident = gauge.with({ worker: String(worker) });
  metrics.beforeSnapshot(() => resident.set(process.memoryUsage.rss()));
}

async function follow(worker: Running, message: ToWorker): Promise<void> {
  const { server, metrics, log } = worker;
  switch (message.type) {
    case "start":
      return;
    case "metrics":
      return tell({ type: "metrics", snapshot: metrics.snapshot() });
    case "certificate":
      try {
        await server.setCertificate(message.certificate);
      } catch (error) {
        log.error("the new TLS certificate cannot be used; the former one stays in use", {
          error: describe(error),
        });
      }
      return;
    case "cut off":
      worker.readiness.cutOff(message.reason);
      return;
    case "drain":
      worker.readiness.leave();
      await server.drain(message.timeout);
      await worker.close();
      await log.flush();
      process.exit(0);
  }
}
