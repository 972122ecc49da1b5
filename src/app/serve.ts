/**
 * The parent: owns what there must be one of (the lock on the data directory, the probe of the port, the
 * metadata writer, background jobs, the merged metrics), keeps the workers running, and ends everything in order.
 */
import { describe, type Logger, type OwnLogger } from "../base/log.ts";
import { openFileStore } from "../blobs/file/store.ts";
import type { Config } from "../config/config.ts";
import { serveMetrics } from "../http/metrics-server.ts";
import type { Certificate } from "../http/server.ts";
import { serveWriter } from "../meta/sqlite/index.ts";
import { createRegistry, type Registry } from "../registry/registry.ts";
import { serveAdmin } from "./admin.ts";
import { openForeign, startAdoption } from "./adoption.ts";
import { adoptionControl } from "./adoption-control.ts";
import { CertificateWatch, expiryWarning, readCertificate } from "./certificate.ts";
import { takeDataDirectory } from "./data-directory.ts";
import { startJobs, type Job } from "./jobs.ts";
import { openLog } from "./log.ts";
import { openMetadata } from "./metadata.ts";
import { collector } from "./own-metrics.ts";
import { probe, refusal, urlOf } from "./port.ts";
import { listenForSignals } from "./signals.ts";
import { StartError } from "./start-error.ts";
import { registryOptions, writerSocketPath } from "./stores.ts";
import { Supervisor } from "./supervisor.ts";

export interface ServeOptions {
  readonly config: Config;
  /** Sentences about the configuration to log once. */
  readonly notices: readonly string[];
  readonly version: string;
}

const METRICS_OPTION = "metrics.listen (HOLDFAST_METRICS_LISTEN)";
/** Blobs are counted for the metrics so often. */
const COUNT_MS = 300_000;
/** A pull that has looked up where bytes lie opens them well within this. */
const ADOPTION_GRACE_MS = 5000;

/** Serves until a signal or a failure. Resolves to the exit code; throws `StartError` when it cannot start. */
export async function serve(options: ServeOptions): Promise<number> {
  const log = openLog(options.config, "parent");
  const failed = Promise.withResolvers<string>();
  const fatal = (error: unknown): void => {
    log.error("an error that nobody caught ends the server", { error: describe(error) });
    failed.resolve("of an internal error");
  };
  process.on("uncaughtException", fatal);
  process.on("unhandledRejection", fatal);
  try {
    return await run(options, log, failed);
  } finally {
    await log.flush();
  }
}

async function run(
  { config, notices, version }: ServeOptions,
  log: OwnLogger,
  failed: PromiseWithResolvers<string>,
): Promise<number> {
  await using held = new AsyncDisposableStack();
  held.use(takeDataDirectory(config.data));
  const foreign = openForeign(config.data);
  const listen = await probe(config.listen, "--listen");
  const certificate = await certificateOf(config);
  const expiry = certificate && config.tls && expiryWarning(config.tls.cert, certificate);
  for (const notice of [...notices, ...(expiry === undefined ? [] : [expiry])]) log.warn(notice);

  const writer = held.adopt(await openMetadata(config), (open) => open.close());
  const socket = await serveWriter(writer, writerSocketPath(config));
  held.defer(() => socket.close());
  const blobs = held.adopt(await openFileStore({ directory: config.data }), (open) => open.close());
  const registry = await createRegistry({
    meta: writer,
    blobs,
    foreign,
    options: registryOptions(config),
    alarm: (message, fields) => log.error(message, fields),
  });

  const supervisor = new Supervisor({
    count: config.workers,
    start: { config, listen, certificate, writerSocket: writerSocketPath(config) },
    log,
    failed: failed.resolve,
  });
  held.defer(() => supervisor.kill());
  const watch = watchCertificate(config, certificate, log, supervisor);
  if (watch) held.use(watch);
  const signals = held.use(
    listenForSignals({
      reload: () => watch?.check(true),
      again() {
        log.warn("ending at once: a second signal arrived");
        supervisor.kill();
      },
    }),
  );
  const adoption = adoptionControl(registry, config.data, ADOPTION_GRACE_MS);
  held.use(await serveAdmin(config.data, adoption));
  const stored = { current: undefined as Awaited<ReturnType<Registry["stats"]>> | undefined };
  const metricsAt = await openMetrics(config, held, () =>
    collector({ version, supervisor, writer, blobs, stored: () => stored.current }),
  );

  log.info("starting", { version, bun: Bun.version, pid: process.pid, data: config.data });
  const stop = signals.stop.then((signal) => ({ signal }));
  const failure = failed.promise.then((reason) => ({ reason }));
  const started = supervisor.start().then(() => undefined);
  let end = await Promise.race([started, stop, failure]);
  if (!end) {
    const scheme = certificate ? "https" : "http";
    log.info("ready", {
      listen: listen.map((address) => urlOf(scheme, address)),
      data: config.data,
      workers: config.workers,
      ...(metricsAt === undefined ? {} : { metrics: `${metricsAt}/metrics` }),
    });
    held.use(startAdoption(registry, config.data, log));
    held.use(startJobs(jobs(config, registry, log, stored), log));
    end = await Promise.race([stop, failure]);
  }
  if ("reason" in end) {
    log.error(`the server ends: ${end.reason}`);
    return 1;
  }
  log.info("stopping", { signal: end.signal, timeoutSeconds: config.drain.timeout / 1000 });
  const orderly = await supervisor.drain(config.drain.timeout);
  log.info("stopped");
  return orderly ? 0 : 1;
}

async function certificateOf({ tls }: Config): Promise<Certificate | undefined> {
  try {
    return tls && (await readCertificate(tls));
  } catch (error) {
    throw new StartError(error instanceof Error ? error.message : String(error));
  }
}

function watchCertificate(
  { tls }: Config,
  certificate: Certificate | undefined,
  log: Logger,
  supervisor: Supervisor,
): CertificateWatch | undefined {
  if (!tls || !certificate) return undefined;
  return new CertificateWatch(tls, certificate, log, (next) => supervisor.setCertificate(next));
}

/** The origin of the metrics, or `undefined` when they are off. */
async function openMetrics(
  { metrics }: Config,
  held: AsyncDisposableStack,
  make: () => () => Promise<string>,
): Promise<string | undefined> {
  if (!metrics.listen) return undefined;
  const [address = metrics.listen] = await probe([metrics.listen], METRICS_OPTION);
  try {
    const server = serveMetrics(address, make());
    held.defer(() => server.stop());
    return urlOf("http", address);
  } catch (error) {
    throw refusal(address, METRICS_OPTION, error);
  }
}

function jobs(
  config: Config,
  registry: Registry,
  log: Logger,
  stored: { current: Awaited<ReturnType<Registry["stats"]>> | undefined },
): Job[] {
  const purge: Job = {
    name: "purge expired uploads",
    everyMs: config.uploads.purgeInterval,
    async run(signal) {
      const purged = await registry.purgeUploads(signal);
      if (purged > 0) log.info("purged expired uploads", { purged });
    },
  };
  const sweep: Job = {
    name: "remove bytes that were given up",
    everyMs: config.uploads.purgeInterval,
    async run(signal) {
      const removed = await registry.sweepTrash(signal);
      if (removed > 0) log.info("removed bytes that were given up", { removed });
    },
  };
  const count: Job = {
    name: "count blobs",
    everyMs: COUNT_MS,
    async run(signal) {
      const counted = await registry.stats(signal);
      if (!signal.aborted) stored.current = counted;
    },
  };
  return config.metrics.listen ? [purge, sweep, count] : [purge, sweep];
}
