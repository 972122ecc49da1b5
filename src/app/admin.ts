/**
 * The operator's door: a unix socket in the data directory that only the server's own user may open. It speaks
 * HTTP; answers that take long are JSON lines.
 */
import { chmodSync, rmSync } from "node:fs";
import { join } from "node:path";
import { describe } from "../base/log.ts";
import { withSocketName } from "../base/socket-path.ts";
import type { AdoptionControl, FinishRequest } from "./adoption-control.ts";

const HEARTBEAT_MS = 2000;

export function adminSocketPath(directory: string): string {
  return join(directory, "admin.sock");
}

/** Serves until disposed of. The caller holds the data directory's lock. */
export async function serveAdmin(
  directory: string,
  adoption: AdoptionControl,
): Promise<AsyncDisposable> {
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
