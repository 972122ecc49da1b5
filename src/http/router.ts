/** Which use case answers which method of which path, and what right it takes: the one policy point. */
import { OciError } from "../oci/errors.ts";
import { parseReference, type Reference, type Route } from "../oci/route.ts";
import type { Action } from "../registry/context.ts";
import { UploadElsewhere } from "../registry/upload.ts";
import type { Call } from "./call.ts";
import { deleteManifest, putManifest } from "./manifests.ts";
import { getCatalog, getReferrers, getTags } from "./lists.ts";
import { getBlob, getManifest } from "./pull.ts";
import { answer, json } from "./respond.ts";
import { deleteUpload, getUpload, patchUpload, postUpload, putUpload } from "./uploads.ts";
import { anonymousRefusal } from "../config/config.ts";

type Answer = (call: Call) => Promise<Response>;
type Methods = Readonly<Record<string, readonly [Action, Answer]>>;

/** Answers a request to the API. Throws `OciError`. */
export async function dispatch(call: Call, route: Route): Promise<Response> {
  if (route.kind === "ping") return ping(call);
  const methods = methodsOf(route);
  const found =
    methods[call.method === "HEAD" && methods["HEAD"] === undefined ? "GET" : call.method];
  if (found === undefined) throw notAllowed(call.method, allowedOf(methods, call, route));
  const [action, run] = found;
  if (!may(call, action, route)) throw refused(call, action, allowedOf(methods, call, route));
  return run(call);
}

function methodsOf(route: Exclude<Route, { kind: "ping" }>): Methods {
  switch (route.kind) {
    case "catalog":
      return { GET: ["pull", getCatalog] };
    case "blob": {
      const { name, digest } = route;
      const get: Answer = async (call) => getBlob(call, name, digest);
      return {
        GET: ["pull", get],
        HEAD: ["pull", get],
        DELETE: [
          "delete",
          async (call) => {
            await call.registry.deleteBlob(name, digest);
            return answer(202, {});
          },
        ],
      };
    }
    case "manifest": {
      const { name } = route;
      const get: Answer = async (call) => getManifest(call, name, known(route));
      return {
        GET: ["pull", get],
        HEAD: ["pull", get],
        PUT: ["push", async (call) => putManifest(call, name, writable(route))],
        DELETE: ["delete", async (call) => deleteManifest(call, name, known(route))],
      };
    }
    case "uploads":
      return { POST: ["push", async (call) => postUpload(call, route.name)] };
    case "upload": {
      const { name, id } = route;
      return {
        GET: ["push", whereItIs(async (call) => getUpload(call, name, id))],
        PATCH: ["push", whereItIs(async (call) => patchUpload(call, name, id))],
        PUT: ["push", whereItIs(async (call) => putUpload(call, name, id))],
        // Giving up one's own upload deletes nothing that anybody was promised.
        DELETE: ["push", whereItIs(async (call) => deleteUpload(call, name, id))],
      };
    }
    case "tags":
      return { GET: ["pull", async (call) => getTags(call, route.name)] };
    case "referrers":
      return { GET: ["pull", async (call) => getReferrers(call, route.name, route.digest)] };
    default:
      return route satisfies never;
  }
}

/** Answered here, or by the node that has the upload. */
function whereItIs(run: Answer): Answer {
  return async (call) => {
    try {
      return await run(call);
    } catch (error) {
      if (!(error instanceof UploadElsewhere)) throw error;
      if (call.forward === undefined) throw new OciError("BLOB_UPLOAD_UNKNOWN");
      return call.forward(error.home, call.request, call.body);
    }
  };
}

function ping(call: Call): Response {
  if (call.method === "GET") return json(200, {});
  if (call.method === "HEAD") {
    return answer(200, { "Content-Type": "application/json", "Content-Length": "2" });
  }
  throw notAllowed(call.method, ["GET", "HEAD"]);
}

function notAllowed(method: string, allowed: readonly string[]): OciError {
  return new OciError("UNSUPPORTED", `${method} is not supported here`, {
    headers: allow(allowed),
  });
}

function allow(methods: readonly string[]): { readonly Allow: string } {
  return { Allow: methods.join(", ") };
}

function may({ caller, config }: Call, action: Action, route: Route): boolean {
  return "name" in route ? caller.may(action, route.name) : config.auth.anonymous.includes(action);
}

/** The methods of a route that this caller may use. */
function allowedOf(methods: Methods, call: Call, route: Route): string[] {
  return Object.entries(methods)
    .filter(([, [action]]) => may(call, action, route))
    .map(([method]) => method);
}

function refused({ config }: Call, action: Action, allowed: readonly string[]): OciError {
  const reason = anonymousRefusal(config.auth, action) ?? `${action} is not allowed`;
  return action === "delete"
    ? new OciError("UNSUPPORTED", reason, { headers: allow(allowed) })
    : new OciError("DENIED", reason);
}

type ManifestRoute = Extract<Route, { kind: "manifest" }>;

/** A malformed tag cannot name anything there is. */
function known({ name, reference }: ManifestRoute): Reference {
  const parsed = parseReference(reference);
  if (parsed !== undefined) return parsed;
  throw new OciError("MANIFEST_UNKNOWN", undefined, {
    detail: { name, reference: reference.slice(0, 256) },
  });
}

function writable({ reference }: ManifestRoute): Reference {
  const parsed = parseReference(reference);
  if (parsed !== undefined) return parsed;
  throw new OciError(
    "MANIFEST_INVALID",
    "tag invalid: letters, digits, _ . - and at most 128 of them, no . or - in front",
    {
      detail: { tag: reference.slice(0, 256) },
    },
  );
}
