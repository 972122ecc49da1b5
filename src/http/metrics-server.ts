/** `/metrics` on a listener of its own, so that it is never exposed with the registry by accident. */
import { parseTarget } from "./target.ts";

export interface MetricsServer {
  stop(): Promise<void>;
}

/**
 * Serves what `collect` gives at that moment, in the Prometheus text format. `host` as for the main
 * listeners, `""` for every interface. Throws when the address cannot be had.
 */
export function serveMetrics(
  address: { readonly host: string; readonly port: number },
  collect: () => Promise<string>,
): MetricsServer {
  const server = Bun.serve({
    ...(address.host === "" ? {} : { hostname: address.host }),
    port: address.port,
    development: false,
    maxRequestBodySize: 0,
    async fetch(request) {
      if (parseTarget(request.url).path !== "/metrics")
        return new Response("see /metrics\n", { status: 404 });
      if (request.method !== "GET" && request.method !== "HEAD")
        return new Response("GET only\n", { status: 405, headers: { Allow: "GET, HEAD" } });
      return new Response(await collect(), {
        headers: { "Content-Type": "text/plain; version=0.0.4; charset=utf-8" },
      });
    },
  });
  return { stop: () => server.stop(true) };
}
