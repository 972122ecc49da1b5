/**
 * The whole registry in this process, on real stores, behind `handle(request)`: no socket, no worker. Where the suite
 * runs on shared engines there are two nodes, and each request goes to either.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openSharedStores } from "../../src/app/shared-stores.ts";
import { registryOptions } from "../../src/app/stores.ts";
import { randomHex, type Clock } from "../../src/base/clock.ts";
import type { OwnLogger, RequestFields } from "../../src/base/log.ts";
import { Metrics } from "../../src/base/metrics.ts";
import { openFileStore } from "../../src/blobs/file/store.ts";
import type { BlobStore } from "../../src/blobs/port.ts";
import type { Config } from "../../src/config/config.ts";
import { loadConfig } from "../../src/config/load.ts";
import { createHandler } from "../../src/http/handler.ts";
import { HttpMetrics } from "../../src/http/metrics.ts";
import type { MetaStore } from "../../src/meta/port.ts";
import { openWriter } from "../../src/meta/sqlite/index.ts";
import { createRegistry, type Registry } from "../../src/registry/registry.ts";
import { prepareSchema } from "../../src/registry/schema.ts";
import { newPlace, storesOfSuite, type DatabaseKind } from "./shared-place.ts";

export interface InProcessOptions {
  /** Variables such as `HOLDFAST_LIMITS_MANIFEST_BYTES`. */
  readonly env?: Readonly<Record<string, string>>;
  readonly clock?: Clock;
  /** Puts something between each registry and its stores, to make them fail. */
  readonly wrapMeta?: (meta: MetaStore) => MetaStore;
  readonly wrapBlobs?: (blobs: BlobStore) => BlobStore;
  /** One node on any engine, for what each node has to itself. */
  readonly single?: boolean;
}

export interface InProcess extends AsyncDisposable {
  /** `path` begins with `/`; the rest as in `fetch`. */
  readonly handle: (path: string, init?: RequestInit) => Promise<Response>;
  /** These are the first node's, where there are two. */
  readonly registry: Registry;
  readonly meta: MetaStore;
  readonly blobs: BlobStore;
  readonly config: Config;
  /** The file that has a blob's bytes. */
  readonly pathOf: (locator: string) => string;
  /** Lines of the request log. */
  readonly requests: readonly RequestFields[];
  /** What the registry told the operator. */
  readonly alarms: readonly string[];
}

interface NodeStores {
  readonly config: Config;
  readonly meta: MetaStore;
  readonly blobs: BlobStore;
}

/** At least one node. */
interface Installation extends AsyncDisposable {
  readonly nodes: readonly [NodeStores, ...NodeStores[]];
  readonly pathOf: (locator: string) => string;
}

type Handle = InProcess["handle"];

export async function openInProcess(options: InProcessOptions = {}): Promise<InProcess> {
  const kind = storesOfSuite();
  if (kind === "cluster") throw new Error("these tests run in one process, a cluster in many");
  const clock: Clock = options.clock ?? { now: () => Date.now() };
  const installation =
    kind === undefined ? await openSolo(options, clock) : await openShared(options, kind);
  const requests: RequestFields[] = [];
  const alarms: string[] = [];
  const nodes: { readonly registry: Registry; readonly handle: Handle }[] = [];
  const wrapped = installation.nodes.map(({ config, meta, blobs }) => ({
    config,
    meta: options.wrapMeta?.(meta) ?? meta,
    blobs: options.wrapBlobs?.(blobs) ?? blobs,
  }));
  for (const { config, meta, blobs } of wrapped) {
    const registry = await createRegistry({
      meta,
      blobs,
      clock,
      options: registryOptions(config),
      alarm: (message) => alarms.push(message),
    });
    nodes.push({ registry, handle: handleOf(registry, config, requests) });
  }
  const [stores] = wrapped;
  const [node] = nodes;
  if (stores === undefined || node === undefined) throw new Error("there is no node");
  return {
    handle: async (path, init) => {
      const { handle } = nodes[Math.floor(Math.random() * nodes.length)] ?? node;
      return handle(path, init);
    },
    ...stores,
    registry: node.registry,
    pathOf: installation.pathOf,
    requests,
    alarms,
    [Symbol.asyncDispose]: () => installation[Symbol.asyncDispose](),
  };
}

async function openSolo({ env }: InProcessOptions, clock: Clock): Promise<Installation> {
  const data = mkdtempSync(join(tmpdir(), "holdfast-in-process-"));
  const config = configOf(data, env);
  const meta = openWriter({ path: join(data, "meta", "holdfast.db") });
  const blobs = await openFileStore({ directory: data });
  await prepareSchema(meta, clock);
  return {
    nodes: [{ config, meta, blobs }],
    pathOf: (locator) => join(data, locator),
    async [Symbol.asyncDispose]() {
      await blobs.close();
      await meta.close();
      rmSync(data, { recursive: true, force: true });
    },
  };
}

/** Two nodes with engines of their own, as their parent processes open them. */
async function openShared(
  { env, single = false }: InProcessOptions,
  kind: DatabaseKind,
): Promise<Installation> {
  await using held = new AsyncDisposableStack();
  const place = held.use(await newPlace(kind));
  const open = async () => {
    const config = configOf("/nowhere", { ...place.env, ...env });
    if (config.stores.kind !== "shared") throw new Error("the stores are not shared");
    const lost = (): void => {};
    const node = { config, log: recordingLog([]), run: randomHex(8), lost };
    const { meta, blobs } = held.use(await openSharedStores(node, config.stores));
    return { config, meta, blobs };
  };
  // Both at once, as after a power cut.
  const [first, second] = await Promise.all([open(), single ? undefined : open()]);
  const nodes = second === undefined ? ([first] as const) : ([first, second] as const);
  const all = held.move();
  return {
    nodes,
    pathOf: (locator) => place.pathOf(locator),
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  };
}

function configOf(data: string, env: InProcessOptions["env"]): Config {
  return loadConfig({
    env: { HOLDFAST_LISTEN: "127.0.0.1:5000", HOLDFAST_DATA: data, ...env },
    cwd: "/",
  }).config;
}

function handleOf(registry: Registry, config: Config, requests: RequestFields[]): Handle {
  const handler = createHandler({
    registry,
    config,
    log: recordingLog(requests),
    metrics: new HttpMetrics(new Metrics()),
    readiness: () => ({ ready: true, reasons: [] }),
  });
  const peer = { address: "127.0.0.1", setIdle: () => {} };
  return async (path, init = {}) => {
    const request = new Request(`http://registry.test${path}`, init);
    // What a socket would have added for a body of known length.
    if (typeof init.body === "string" || init.body instanceof Uint8Array) {
      request.headers.set("content-length", `${new Blob([init.body]).size}`);
    } else if (init.body !== undefined && init.body !== null) {
      request.headers.set("transfer-encoding", "chunked");
    }
    return handler(request, peer);
  };
}

function recordingLog(requests: RequestFields[]): OwnLogger {
  const ignore = (): void => {};
  return {
    debug: ignore,
    info: ignore,
    warn: ignore,
    error: ignore,
    request: (fields) => {
      requests.push(fields);
    },
    flush: async () => {},
  };
}
