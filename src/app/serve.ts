/**
 * The parent: owns what there must be one of (the lock on the data directory, the probe of the port, the
 * metadata writer, background jobs, the merged metrics), keeps the workers running, and ends everything in order.
 */
import { randomHex } from "../base/clock.ts";
import { describe, type Logger, type OwnLogger } from "../base/log.ts";
import { Metrics } from "../base/metrics.ts";
import type { Config } from "../config/config.ts";
import { createHandler } from "../http/handler.ts";
import { HttpMetrics } from "../http/metrics.ts";
import { serveMetrics } from "../http/metrics-server.ts";
import type { Certificate } from "../http/server.ts";
import { serveCommits } from "../meta/link/server.ts";
import { createRegistry, type Registry } from "../registry/registry.ts";
import { serveAdmin } from "./admin.ts";
import { startAdoption } from "./adoption.ts";
import { adoptionControl } from "./adoption-control.ts";
import { CertificateWatch, expiryWarning, readCertificate } from "./certificate.ts";
import { takeDataDirectory } from "./data-directory.ts";
import { jobs, type Counted } from "./background.ts";
import { startJobs } from "./jobs.ts";
import { openLog } from "./log.ts";
import { collector } from "./own-metrics.ts";
import { probe, refusal, urlOf } from "./port.ts";
import { listenForSignals } from "./signals.ts";
import { StartError } from "./start-error.ts";
import type { NodeStores } from "./node-stores.ts";
import { openNodeStores } from "./open-stores.ts";
import { committerSocketPath, registryOptions } from "./stores.ts";
import { Supervisor } from "./supervisor.ts";

export interface ServeOptions {
  readonly config: Config;
  /** Sentences about the configuration to log once. */
  readonly notices: readonly string[];
  readonly version: string;
}

type End = { readonly signal: NodeJS.Signals } | { readonly reason: string };

const METRICS_OPTION = "metrics.listen (HOLDFAST_METRICS_LISTEN)";
/** A pull that has looked up where bytes lie opens them well within this. */
const ADOPTION_GRACE_MS = 5000;
/** A start that is given up ends its etcd within. */
const GIVEN_UP_MS = 15_000;

/** Serves until a signal or a failure. Resolves to the exit code; throws `StartError` when it cannot start. */
export async function serve(options: ServeOptions): Promise<number> {
  const log = openLog(options.config, "parent");
  const failed = Promise.withResolvers<string>();
  const fatal = (error: unknown): void => {
    log.error("an error that nobody caught ends the server", { error: describe(error) });
    process.exitCode = 1;
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
  const running: { workers?: Supervisor; watch?: CertificateWatch | undefined } = {};
  const hurry = Promise.withResolvers<void>();
  const signals = held.use(
    listenForSignals({
      reload: () => running.watch?.check(true),
      again() {
        log.warn("ending at once: a second signal arrived");
        running.workers?.kill();
        hurry.resolve();
      },
    }),
  );
  const stop = signals.stop.then((signal) => ({ signal }));
  const failure = failed.promise.then((reason) => ({ reason }));
  held.use(takeDataDirectory(config.data));
  const listen = await probe(config.listen, "--listen");
  const certificate = await certificateOf(config);
  const expiry = certificate && config.tls && expiryWarning(config.tls.cert, certificate);
  for (const notice of [...notices, ...(expiry === undefined ? [] : [expiry])]) log.warn(notice);

  const run = randomHex(8);
  const opening = new AbortController();
  const taken = new AbortController();
  const { lost, signal } = { lost: failed.resolve, signal: opening.signal };
  const opened = openNodeStores({
    config,
    front: { listen, certificate, taken: taken.signal },
    log,
    run,
    lost,
    signal,
  });
  const early = await Promise.race([opened.then(() => undefined), stop, failure]);
  if (early) {
    opening.abort();
    await Promise.race([givenUp(config, opened), hurry.promise]);
    return endedBy(early, log);
  }
  const stores = held.use(await opened);
  const { meta, blobs } = stores;
  const socket = await serveCommits(
    { commit: (commit) => meta.commit(commit), revisions: stores.revisions },
    committerSocketPath(config),
  );
  held.defer(() => socket.close());
  const registry = await createRegistry({
    meta,
    blobs,
    foreign: stores.foreign?.layout,
    options: registryOptions(config),
    alarm: (message, fields) => log.error(message, fields),
  });

  const workers = new Supervisor({
    count: config.workers,
    start: {
      config,
      listen,
      certificate,
      committer: committerSocketPath(config),
      bucket: stores.bucket,
      cluster: stores.cluster?.access,
    },
    ended: (ended) => void bury(stores, ended),
    missing: (locator, size) => stores.cluster?.healer.want(locator, size),
    log,
    failed: failed.resolve,
  });
  running.workers = workers;
  held.defer(() => workers.kill());
  running.watch = watchCertificate(config, certificate, log, workers);
  if (running.watch) held.use(running.watch);
  const directory = config.stores.kind === "files" ? config.data : undefined;
  stores.cluster?.onCutOff((reason) => workers.setCutOff(reason));
  stores.cluster?.answerForwarded(forwardedAnswer(config, registry, log));
  const adoption = adoptionControl(registry, directory, ADOPTION_GRACE_MS);
  held.use(await serveAdmin(config.data, adoption, stores));
  const counted: Counted = { current: undefined };
  const metricsAt = await openMetrics(config, held, () =>
    collector({ version, supervisor: workers, stores, counted: () => counted.current }),
  );

  log.info("starting", { version, bun: Bun.version, pid: process.pid, data: config.data });
  const started = workers.start().then(() => taken.abort());
  let end = await Promise.race([started, stop, failure]);
  if (!end) {
    const scheme = certificate ? "https" : "http";
    log.info("ready", {
      listen: listen.map((address) => urlOf(scheme, address)),
      data: config.data,
      workers: config.workers,
      ...(metricsAt === undefined ? {} : { metrics: `${metricsAt}/metrics` }),
    });
    held.use(startAdoption(registry, stores, log));
    held.use(startJobs(jobs(config, registry, stores, log, counted), log));
    end = await Promise.race([stop, failure]);
  }
  if ("reason" in end) return endedBy(end, log);
  log.info("stopping", { signal: end.signal, timeoutSeconds: config.drain.timeout / 1000 });
  const orderly = await workers.drain(config.drain.timeout);
  log.info("stopped");
  return orderly ? 0 : 1;
}

/** Says why there is nothing to serve any more; resolves to the exit code. */
function endedBy(end: End, log: OwnLogger): number {
  if ("reason" in end) {
    log.error(`the server ends: ${end.reason}`);
    return 1;
  }
  log.info("stopped before it was ready", { signal: end.signal });
  return 0;
}

/** Resolves when nothing is left of a start that was told to end. */
async function givenUp({ stores }: Config, opened: Promise<NodeStores>): Promise<void> {
  const closed = opened.then(
    (late) => late[Symbol.asyncDispose](),
    () => {},
  );
  // Only a node of a cluster starts something that would outlive it.
  await Promise.race([closed, Bun.sleep(stores.kind === "cluster" ? GIVEN_UP_MS : 0)]);
}

/** Answers what other nodes' clients have to say about uploads that this node has. */
function forwardedAnswer(
  config: Config,
  registry: Registry,
  log: Logger,
): (request: Request) => Promise<Response> {
  const handler = createHandler({
    registry,
    config,
    log,
    metrics: new HttpMetrics(new Metrics()),
    readiness: () => ({ ready: true, reasons: [] }),
  });
  return (request) => handler(request, { address: undefined, setIdle() {} });
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

/** So that what the worker held can be taken over at once. */
async function bury({ presence }: NodeStores, run: string): Promise<void> {
  try {
    await presence?.buried(run);
  } catch {
    // The others find out by themselves.
  }
}
