/** Clients that push, move, delete and read tags at random nodes, and write down what they saw and when. */
import { MANIFEST_TYPE, imageManifest, pushBlob, sha256 } from "../../support/push.ts";
import type { Random } from "../../support/random.ts";
import type { Init } from "./api.ts";
import type { Action, Operation, Value } from "./linearizable.ts";

const REPOSITORY = "history";
const PATIENCE_MS = 20_000;

export interface TagClientsOptions {
  /** URLs of the nodes that run. */
  readonly nodes: () => readonly string[];
  readonly random: Random;
  readonly clients: number;
  readonly tags: number;
}

export interface TagClients {
  /** Answers so far. */
  readonly answered: number;
  /** Ends the clients; what they saw of each tag. Throws for an answer that is not documented. */
  stop(): Promise<ReadonlyMap<string, readonly Operation[]>>;
}

/** What a client asks for, and what an answer's status says. */
interface Request {
  readonly init: Init;
  /** The outcome, `undefined` for a status that is none. */
  readonly outcome: (status: number, digest: Value) => Action | undefined;
  /** Where no answer comes. */
  readonly unknown: Action;
}

export async function startTagClients(options: TagClientsOptions): Promise<TagClients> {
  const { nodes, random, clients, tags } = options;
  const config = new TextEncoder().encode("{}");
  const [first = ""] = nodes();
  const parts = { digest: await pushBlob(first, REPOSITORY, config), size: config.length };
  const history = new Map<string, Operation[]>();
  const state = { answered: 0 };
  let running = true;
  let manifests = 0;

  const client = async (): Promise<void> => {
    let seen: Value;
    while (running) {
      const tag = `t${random.int(tags)}`;
      const manifest = imageManifest({ config: parts, layers: [] }).replace(
        /}$/,
        `,"annotations":{"n":"${++manifests}"}}`,
      );
      const request = choose(random, manifest, seen);
      const url = `${random.pick(nodes())}/v2/${REPOSITORY}/manifests/${tag}`;
      const operation = await perform(url, request);
      if (operation.unknown !== true) {
        state.answered++;
        const { action } = operation;
        if (action.kind === "read") seen = action.value;
        else if (action.kind === "write") seen = action.value;
      } else await Bun.sleep(20);
      const list = history.get(tag) ?? [];
      history.set(tag, list);
      list.push(operation);
    }
  };
  const all = Promise.all(Array.from({ length: clients }, client));
  // Told by stop().
  all.catch(() => {});
  return Object.assign(state, {
    async stop() {
      running = false;
      await all;
      return history;
    },
  });
}

function choose(random: Random, manifest: string, seen: Value): Request {
  const value = sha256(manifest);
  const put = (condition: Record<string, string>): Init => ({
    method: "PUT",
    body: manifest,
    headers: { "Content-Type": MANIFEST_TYPE, ...condition },
  });
  switch (random.int(6)) {
    case 0: {
      const write: Action = { kind: "write", value };
      return {
        init: put({}),
        outcome: (status) => (status === 201 ? write : undefined),
        unknown: write,
      };
    }
    case 1: {
      const remove = (existed: boolean): Action => ({ kind: "delete", existed });
      return {
        init: { method: "DELETE" },
        outcome: (status) =>
          status === 202 ? remove(true) : status === 404 ? remove(false) : undefined,
        unknown: remove(true),
      };
    }
    case 2: {
      const expected = random.chance(0.3) ? undefined : seen;
      const swap = (succeeded: boolean): Action => ({ kind: "swap", expected, value, succeeded });
      return {
        init: put(
          expected === undefined ? { "If-None-Match": "*" } : { "If-Match": `"${expected}"` },
        ),
        outcome: (status) =>
          status === 201 ? swap(true) : status === 412 ? swap(false) : undefined,
        unknown: swap(true),
      };
    }
    default: {
      const read = (shown: Value): Action => ({ kind: "read", value: shown });
      return {
        init: { method: random.chance(0.5) ? "GET" : "HEAD" },
        outcome: (status, digest) =>
          status === 200 ? read(digest) : status === 404 ? read(undefined) : undefined,
        unknown: read(undefined),
      };
    }
  }
}

async function perform(url: string, { init, outcome, unknown }: Request): Promise<Operation> {
  const start = performance.now();
  let response: Response;
  try {
    response = await fetch(url, {
      ...init,
      headers: { ...init.headers, connection: "close" },
      signal: AbortSignal.timeout(PATIENCE_MS),
    });
    await response.arrayBuffer();
  } catch {
    return { action: unknown, start, end: Infinity, unknown: true };
  }
  const end = performance.now();
  const { status, headers } = response;
  const isRefused = status === 503 && headers.has("Retry-After");
  // What is shown as stale claims nothing.
  if (isRefused || headers.has("Warning"))
    return { action: unknown, start, end: Infinity, unknown: true };
  const action = outcome(status, headers.get("Docker-Content-Digest") ?? undefined);
  if (action === undefined) throw new Error(`${init.method} ${url} answered ${status}`);
  return { action, start, end };
}
