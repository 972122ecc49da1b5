/**
 * The operator's door: a unix socket in the data directory that only the server's own user may open. It speaks
 * HTTP; answers that take long are JSON lines.
 */
import { chmodSync, rmSync } from "node:fs";
import { describe } from "../base/log.ts";
import { withSocketName } from "../base/socket-path.ts";
import { OperatorError } from "../base/operator-error.ts";
import { StoreUnavailable } from "../meta/port.ts";
import { adminSocketPath } from "./admin-socket.ts";
import type { AdoptionControl, FinishRequest } from "./adoption-control.ts";
import type { ClusterNode } from "./cluster-node.ts";
import { backupAnswer } from "./backup.ts";
import type { NodeStores } from "./node-stores.ts";
import { nodeActions, type NodeActionRequest } from "./cluster-status.ts";

const HEARTBEAT_MS = 2000;

/** Serves until disposed of. The caller holds the data directory's lock. */
export async function serveAdmin(
  directory: string,
  adoption: AdoptionControl,
  stores: NodeStores,
): Promise<AsyncDisposable> {
  const { cluster } = stores;
  const path = adminSocketPath(directory);
  rmSync(path, { force: true });
  const server = await withSocketName(path, (unix) => {
    // The socket is never open to others, not even before the chmod.
    const mask = process.umask(0o177);
    try {
      return Bun.serve({
        unix,
        routes: {
          "/adoption": { GET: async () => Response.json((await adoption.status()) ?? null) },
          "/adoption/finish": {
            POST: async (request) => {
              const wanted = (await request.json()) as FinishRequest;
              return jsonLines(adoption.finish(wanted, request.signal));
            },
          },
          "/backup": {
            POST: (request, server) => {
              // The journal may have to be read first, and Bun ends what is silent for ten seconds.
              server.timeout(request, 0);
              return backupAnswer(stores, request.signal);
            },
          },
          "/cluster/status": async () =>
            cluster === undefined ? notInCluster() : Response.json(await cluster.status()),
          "/cluster/nodes/:name/:action": {
            POST: async (request) => actOn(cluster, request.params, await request.json()),
          },
        },
        fetch: () => Response.json({ error: "no such endpoint" }, { status: 404 }),
        error: (error) => Response.json({ error: describe(error) }, { status: 500 }),
      });
    } finally {
      process.umask(mask);
    }
  });
  chmodSync(path, 0o600);
  return {
    async [Symbol.asyncDispose]() {
      await server.stop(true);
      rmSync(path, { force: true });
    },
  };
}

async function actOn(
  cluster: ClusterNode | undefined,
  { name, action }: { readonly name: string; readonly action: string },
  request: unknown,
): Promise<Response> {
  const wanted = nodeActions.find((known) => known === action);
  if (wanted === undefined) return Response.json({ error: "no such endpoint" }, { status: 404 });
  if (cluster === undefined) return notInCluster();
  try {
    const { force } = request as NodeActionRequest;
    return Response.json({ message: await cluster.act(name, wanted, force) });
  } catch (error) {
    if (error instanceof OperatorError)
      return Response.json({ error: error.message }, { status: 409 });
    if (error instanceof StoreUnavailable)
      return Response.json({ error: error.message }, { status: 503 });
    throw error;
  }
}

function notInCluster(): Response {
  const error = "this server is no node of a cluster: its configuration has no section cluster";
  return Response.json({ error }, { status: 409 });
}

/** A line for each event, and an empty one now and then: Bun ends an answer that is silent for ten seconds. */
function jsonLines(events: AsyncIterable<object>): Response {
  const encoder = new TextEncoder();
  const iterator = events[Symbol.asyncIterator]();
  let pending: Promise<IteratorResult<object>> | undefined;
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        pending ??= iterator.next();
        const next = await Promise.race([pending, Bun.sleep(HEARTBEAT_MS)]);
        if (next !== undefined) pending = undefined;
        if (next?.done === true) controller.close();
        else controller.enqueue(encoder.encode(next ? `${JSON.stringify(next.value)}\n` : "\n"));
      } catch (error) {
        controller.enqueue(encoder.encode(`${JSON.stringify({ error: describe(error) })}\n`));
        controller.close();
      }
    },
    async cancel() {
      await iterator.return?.();
    },
  });
  return new Response(body, { headers: { "Content-Type": "application/x-ndjson" } });
}
