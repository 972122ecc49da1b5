/**
 * Pulls at a node that finds no majority when it starts, as after a power cut that one machine of three has come back
 * from. Its member of etcd answers nobody then, so it shows what its own journal has, marked stale, and the blobs that
 * it and who else is there hold; pushes get 503. The parent answers by itself: it is no node yet, and has no workers.
 */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { systemClock } from "../base/clock.ts";
import { describe, type Logger } from "../base/log.ts";
import { Metrics } from "../base/metrics.ts";
import { openFileObjects } from "../blobs/file/objects.ts";
import type { Membership } from "../cluster/membership/index.ts";
import { foundNodes } from "../cluster/nodes/index.ts";
import type { ClusterConfig, Config } from "../config/config.ts";
import { createHandler } from "../http/handler.ts";
import { HttpMetrics } from "../http/metrics.ts";
import { type Address, type Certificate, HttpServer } from "../http/server.ts";
import { restore } from "../journal/index.ts";
import { delegate } from "../meta/delegate.ts";
import { type Read, StoreUnavailable } from "../meta/port.ts";
import { openWriter } from "../meta/sqlite/index.ts";
import { createRegistry } from "../registry/registry.ts";
import { prepareSchema } from "../registry/schema.ts";
import { openCopies, type ClusterLink } from "./cluster.ts";
import { isJournalOf } from "./cluster-journal.ts";
import { registryOptions } from "./stores.ts";

/** Nodes that all start at once have elected a leader in less. */
const GRACE_MS = 10_000;
/** For pulls that are under way. */
const DRAIN_MS = 10_000;

const REASON =
  "this node waits for a majority of the cluster's nodes: see in its log which it cannot reach";

/** Where clients find the registry. */
export interface Front {
  readonly listen: readonly Address[];
  readonly certificate: Certificate | undefined;
  /** Aborts when the node's workers listen there. */
  readonly taken: AbortSignal;
}

export interface WaitingOptions {
  readonly config: Config;
  readonly cluster: ClusterConfig;
  readonly front: Front;
  readonly link: ClusterLink;
  readonly membership: Pick<Membership, "nodes">;
  /** Id of the cluster. */
  readonly metadata: string;
  readonly log: Logger;
}

/** What `majority` resolves to; pulls are served meanwhile, and until the workers do. `held` ends it at the latest. */
export async function servingPulls<T>(
  held: AsyncDisposableStack,
  majority: Promise<T>,
  options: WaitingOptions,
): Promise<T> {
  const early = await Promise.race([majority.then(() => true), Bun.sleep(GRACE_MS)]);
  if (early === true) return majority;
  const closing = new AbortController();
  const ending = AbortSignal.any([closing.signal, options.front.taken]);
  const serving = serveUntil(ending, options).catch((error: unknown) => {
    if (ending.aborted) return;
    options.log.warn("pulls cannot be served while there is no majority", {
      error: describe(error),
    });
  });
  held.defer(async () => {
    closing.abort();
    await serving;
  });
  return majority;
}

async function serveUntil(signal: AbortSignal, options: WaitingOptions): Promise<void> {
  const { config, front, log } = options;
  await using held = new AsyncDisposableStack();
  const registry = await openRegistry(held, signal, options);
  if (registry === undefined || signal.aborted) return;
  const server = new HttpServer({
    ...front,
    handler: createHandler({
      registry,
      config,
      log,
      metrics: new HttpMetrics(new Metrics()),
      readiness: () => ({ ready: false, reasons: [REASON] }),
    }),
    log,
  });
  log.warn("there is no majority: pulls are served from what this node knew last, pushes get 503");
  await aborted(signal);
  await server.drain(DRAIN_MS, 0);
}

/** Its state as of this node's own journal; `undefined` where it has none. */
async function openRegistry(
  held: AsyncDisposableStack,
  signal: AbortSignal,
  { config, cluster, link, membership, metadata, log }: WaitingOptions,
) {
  const objects = await openFileObjects(config.data);
  if (!(await isJournalOf(objects, metadata))) return undefined;
  const directory = join(config.data, "meanwhile");
  const clear = (): Promise<void> => rm(directory, { recursive: true, force: true });
  await clear();
  held.defer(clear);
  const journal = await openFileObjects(directory);
  const { store } = await restore({
    objects,
    journal,
    open: async (above) =>
      openWriter({
        path: join(directory, "metadata", "holdfast.db"),
        historyMax: 10,
        ...(above === undefined ? {} : { above }),
      }),
    clock: systemClock,
    signal,
  });
  held.adopt(store, (open) => open.close());
  await prepareSchema(store, systemClock);
  await foundNodes(store, membership.nodes);
  const stale = <R extends Read>(read: R): R => ({ ...read, stale: true });
  const meta = delegate(store, {
    get: async (keys) => stale(await store.get(keys)),
    scan: async (options) => stale(await store.scan(options)),
    commit: () => Promise.reject(new StoreUnavailable(REASON)),
  });
  const { blobs } = await openCopies(held, {
    cluster,
    data: config.data,
    link,
    meta,
    // Who lives is not known: whoever may hold a blob is asked.
    presence: { isAlive: async () => true },
    log,
  });
  return createRegistry({
    meta,
    blobs,
    foreign: undefined,
    options: registryOptions(config),
    alarm: (message, fields) => log.error(message, fields),
  });
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
