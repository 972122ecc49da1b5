/** `GET /v1/state`: what this node says of itself, before anything else of it runs. */
import type { PeerHandler } from "../peer/port.ts";
import type { Identity } from "./identity.ts";

export function createStateHandler(identity: Identity): PeerHandler {
  return (request) =>
    request.method === "GET"
      ? Response.json(identity.answer())
      : new Response(null, { status: 405 });
}
