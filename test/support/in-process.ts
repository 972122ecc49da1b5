/** The whole registry in this process, on real stores, behind `handle(request)`: no socket, no worker. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Clock } from "../../src/base/clock.ts";
import type { Logger, RequestFields } from "../../src/base/log.ts";
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
import { registryOptions } from "../../src/app/stores.ts";
import { prepareSchema } from "../../src/registry/schema.ts";

export interface InProcessOptions {
  /** Variables such as `HOLDFAST_LIMITS_MANIFEST_BYTES`. */
  readonly env?: Readonly<Record<string, string>>;
  readonly clock?: Clock;
  /** Puts something between the registry and its stores, to make them fail. */
  readonly wrapMeta?: (meta: MetaStore) => MetaStore;
  readonly wrapBlobs?: (blobs: BlobStore) => BlobStore;
}

export interface InProcess extends AsyncDisposable {
  /** `path` begins with `/`; the rest as in `fetch`. */
  readonly handle: (path: string, init?: RequestInit) => Promise<Response>;
  readonly registry: Registry;
  readonly meta: MetaStore;
  readonly blobs: BlobStore;
  readonly config: Config;
  readonly data: string;
  /** Lines of the request log. */
  readonly requests: readonly RequestFields[];
  /** What the registry told the operator. */
  readonly alarms: readonly string[];
}

export async function openInProcess(options: InProcessOptions = {}): Promise<InProcess> {
  const data = mkdtempSync(join(tmpdir(), "holdfast-in-process-"));
  const { config } = loadConfig({
    env: { HOLDFAST_LISTEN: "127.0.0.1:5000", HOLDFAST_DATA: data, ...options.env },
    cwd: data,
  });
  const writer = openWriter({ path: join(data, "meta", "holdfast.db") });
  const meta = options.wrapMeta?.(writer) ?? writer;
  const files = await openFileStore({ directory: data });
  const blobs = options.wrapBlobs?.(files) ?? files;
  const clock: Clock = options.clock ?? { now: () => Date.now() };
  await prepareSchema(writer, clock);
  const requests: RequestFields[] = [];
  const alarms: string[] = [];
  const registry = await createRegistry({
    meta,
    blobs,
    clock,
    options: registryOptions(config),
    alarm: (message) => alarms.push(message),
  });
  const handler = createHandler({
    registry,
    config,
    log: recordingLog(requests),
    metrics: new HttpMetrics(new Metrics()),
    readiness: () => ({ ready: true, reasons: [] }),
  });
  const peer = { address: "127.0.0.1", setIdle: () => {} };
  return {
    handle: async (path, init = {}) => {
      const request = new Request(`http://registry.test${path}`, init);
      // What a socket would have added for a body of known length.
      if (typeof init.body === "string" || init.body instanceof Uint8Array) {
        request.headers.set("content-length", `${new Blob([init.body]).size}`);
      } else if (init.body !== undefined && init.body !== null) {
        request.headers.set("transfer-encoding", "chunked");
      }
      return handler(request, peer);
    },
    registry,
    meta,
    blobs,
    config,
    data,
    requests,
    alarms,
    [Symbol.asyncDispose]: async () => {
      await files.close();
      await writer.close();
      rmSync(data, { recursive: true, force: true });
    },
  };
}

function recordingLog(requests: RequestFields[]): Logger {
  const ignore = (): void => {};
  return {
    debug: ignore,
    info: ignore,
    warn: ignore,
    error: ignore,
    request: (fields) => {
      requests.push(fields);
    },
  };
}
