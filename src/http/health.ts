/** `/healthz`: the process answers. `/readyz`: it should be sent requests; if not, why. */
import type { Readiness } from "./server.ts";

/** `undefined` for any other path. */
export function healthAnswer(
  path: string,
  method: string,
  readiness: () => Readiness,
): Response | undefined {
  if (path !== "/healthz" && path !== "/readyz") return undefined;
  if (method !== "GET" && method !== "HEAD") {
    return Response.json({ error: "use GET" }, { status: 405, headers: { Allow: "GET, HEAD" } });
  }
  if (path === "/healthz") return Response.json({ alive: true });
  const { ready, reasons } = readiness();
  return Response.json({ ready, reasons }, { status: ready ? 200 : 503 });
}
