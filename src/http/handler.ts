/** From a request to its answer: routing, rights, errors, the log line and the figures. */
import { randomHex } from "../base/clock.ts";
import { describe, type Logger } from "../base/log.ts";
import type { Config } from "../config/config.ts";
import { OciError } from "../oci/errors.ts";
import { parseRoute, type Route } from "../oci/route.ts";
import type { Caller } from "../registry/context.ts";
import type { Registry } from "../registry/registry.ts";
import { BodyBroken, RequestBody } from "./body.ts";
import type { Call, Forward } from "./call.ts";
import { clientAddressReader } from "./client-address.ts";
import { healthAnswer } from "./health.ts";
import type { HttpMetrics } from "./metrics.ts";
import { asOciError, bodyBytes, errorAnswer } from "./respond.ts";
import { dispatch } from "./router.ts";
import type { Peer, Readiness } from "./server.ts";
import { parseTarget, Query } from "./target.ts";
import { UploadGate } from "./upload-gate.ts";

export interface HandlerDeps {
  readonly registry: Registry;
  readonly config: Config;
  readonly log: Logger;
  readonly metrics: HttpMetrics;
  readonly readiness: () => Readiness;
  readonly forward?: Forward | undefined;
}

export type Handler = (request: Request, peer: Peer) => Promise<Response>;

/** A client that sends its own request id keeps it, when it is short and plain. */
const REQUEST_ID = /^[A-Za-z0-9._:-]{1,128}$/;

export function createHandler(deps: HandlerDeps): Handler {
  const { registry, config, log, metrics, forward } = deps;
  const caller: Caller = {
    subject: "anonymous",
    may: (action) => config.auth.anonymous.includes(action),
  };
  const clientAddress = clientAddressReader(config);
  const gate = new UploadGate(config, metrics);
  const link = (path: string): string => `${config.publicUrl ?? ""}${path}`;
  const idPrefix = randomHex(6);
  let count = 0;

  return async (request, peer) => {
    const started = performance.now();
    const { method, url, headers } = request;
    const target = parseTarget(url);
    const sentId = headers.get("x-request-id");
    const id =
      sentId !== null && REQUEST_ID.test(sentId) ? sentId : `${idPrefix}-${(count++).toString(36)}`;
    let route = "other";
    let problem: string | undefined;
    let response: Response;
    const body = new RequestBody(request);
    metrics.begin();
    try {
      const parsed = parseRoute(target.path);
      if (parsed === undefined) {
        const health = healthAnswer(target.path, method, deps.readiness);
        if (health === undefined) throw notFound();
        route = target.path;
        response = health;
      } else {
        route = parsed.template;
        const query = new Query(target.search);
        const common = { peer, caller, registry, config, forward, link };
        const call: Call = { request, body, method, query, ...common };
        response = isPush(parsed, method)
          ? await gate.pass(body, peer, async () => dispatch(call, parsed))
          : await dispatch(call, parsed);
      }
    } catch (error) {
      const known = error instanceof BodyBroken ? broken(error) : asOciError(error);
      problem =
        known.code === "UNKNOWN" || !(error instanceof Error) ? describe(error) : error.message;
      response = errorAnswer(known, method);
    }
    response.headers.set("X-Request-Id", id);
    const seconds = (performance.now() - started) / 1000;
    const bytesIn = body.received;
    const bytesOut = method === "HEAD" ? 0 : bodyBytes(response);
    const { status } = response;
    metrics.end({ route, method, status, seconds, bytesIn, bytesOut });
    log.request({
      id,
      method,
      path: target.search === "" ? target.path : `${target.path}?${target.search}`,
      route,
      status,
      seconds,
      bytesIn,
      bytesOut,
      client: clientAddress(peer, headers),
      agent: headers.get("user-agent") ?? undefined,
      error: problem,
    });
    return response;
  };
}

/** Requests whose body is stored. */
function isPush({ kind }: Route, method: string): boolean {
  if (kind === "uploads") return method === "POST";
  return method === "PUT" || (kind === "upload" && method === "PATCH");
}

function notFound(): OciError {
  return new OciError("UNSUPPORTED", "no such endpoint; the registry's API is below /v2/", {
    status: 404,
  });
}

/** Nobody is left to read it, but the log tells it from a success. */
function broken(error: BodyBroken): OciError {
  return new OciError("BLOB_UPLOAD_INVALID", error.message, { status: 400 });
}
