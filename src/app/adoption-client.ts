/** The adoption of a data directory as a command sees it: through the server that runs on it, or by itself. */
import { accessSync, constants, existsSync, statSync } from "node:fs";
import { openFileStore } from "../blobs/file/store.ts";
import type { Config } from "../config/config.ts";
import { withSocketName } from "../base/socket-path.ts";
import type { FinishEvent } from "../registry/adopt-finish.ts";
import type { AdoptionStatus } from "../registry/adopt-records.ts";
import { createRegistry } from "../registry/registry.ts";
import { adminSocketPath } from "./admin-socket.ts";
import { adoptionControl, type AdoptionControl } from "./adoption-control.ts";
import { takeDataDirectory } from "./data-directory.ts";
import { openMetadata } from "./metadata.ts";
import { StartError, errorCode } from "./start-error.ts";
import { metadataPath, registryOptions } from "./stores.ts";

export interface OpenControl extends AdoptionControl, AsyncDisposable {
  /** A server runs, and does what it is asked. */
  readonly online: boolean;
}

/** Throws `StartError` where neither the server nor the directory can be had. */
export async function openAdoption(config: Config): Promise<OpenControl> {
  return (await online(config)) ?? offline(config);
}

async function online(config: Config): Promise<OpenControl | undefined> {
  const path = adminSocketPath(config.data);
  const ask = (route: string, init: RequestInit = {}): Promise<Response> =>
    withSocketName(path, (unix) => fetch(`http://holdfast${route}`, { ...init, unix }));
  try {
    if (!existsSync(path) || !(await ask("/adoption")).ok) return undefined;
  } catch {
    return undefined;
  }
  return {
    online: true,
    async status() {
      const status = (await (await ask("/adoption")).json()) as AdoptionStatus | null;
      return status ?? undefined;
    },
    async *finish(request, signal) {
      const response = await ask("/adoption/finish", {
        method: "POST",
        body: JSON.stringify(request),
        signal,
      });
      yield* events(response);
    },
    [Symbol.asyncDispose]: async () => {},
  };
}

async function* events(response: Response): AsyncGenerator<FinishEvent, void, void> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of response.body ?? []) {
    text += decoder.decode(chunk, { stream: true });
    const lines = text.split("\n");
    text = lines.pop() ?? "";
    for (const line of lines.filter((text) => text !== "")) {
      const event = JSON.parse(line) as FinishEvent | { readonly error: string };
      if ("error" in event) throw new Error(event.error);
      yield event;
    }
  }
}

async function offline(config: Config): Promise<OpenControl> {
  if (config.stores.kind !== "files") {
    throw new StartError(
      `no server answers in the data directory ${config.data}: on a bucket only a running node can say what was taken over; start it, or name its data directory with --data`,
    );
  }
  if (!isServed(config)) {
    return {
      online: false,
      status: async () => undefined,
      async *finish() {
        yield { type: "end", removed: false, reason: "there is nothing to finish" };
      },
      [Symbol.asyncDispose]: async () => {},
    };
  }
  await using held = new AsyncDisposableStack();
  held.use(takeDataDirectory(config.data));
  const meta = held.adopt(await openMetadata(config), (open) => open.close());
  const blobs = held.adopt(await openFileStore({ directory: config.data }), (open) => open.close());
  const registry = await createRegistry({
    meta,
    blobs,
    options: registryOptions(config),
    alarm: () => {},
  });
  const stack = held.move();
  return {
    online: false,
    ...adoptionControl(registry, config.data, 0),
    [Symbol.asyncDispose]: async () => stack.disposeAsync(),
  };
}

/** Whether a server ever ran on the data directory. Throws `StartError` where that cannot be seen. */
function isServed(config: Config): boolean {
  try {
    accessSync(config.data, constants.R_OK | constants.X_OK);
    return statSync(metadataPath(config), { throwIfNoEntry: false }) !== undefined;
  } catch (error) {
    const code = errorCode(error);
    const remedy =
      code === "EACCES"
        ? "run this as the user that the server runs as"
        : "name the directory that the server uses with --data";
    throw new StartError(
      `cannot read the data directory ${config.data} (${code ?? String(error)}): ${remedy}`,
    );
  }
}
