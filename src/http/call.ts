/** One request on its way through the edge. */
import type { Config } from "../config/config.ts";
import type { Caller } from "../registry/context.ts";
import type { Registry } from "../registry/registry.ts";
import type { RequestBody } from "./body.ts";
import type { Peer } from "./server.ts";
import type { Query } from "./target.ts";

/**
 * Has a request answered by the node that it concerns; `body` has not been read. Throws `OciError`, or what the
 * stores throw.
 */
export type Forward = (node: string, request: Request, body: RequestBody) => Promise<Response>;

export interface Call {
  readonly request: Request;
  readonly body: RequestBody;
  readonly method: string;
  readonly query: Query;
  readonly peer: Peer;
  readonly caller: Caller;
  readonly registry: Registry;
  readonly config: Config;
  /** Only where there are nodes that keep things of their own. */
  readonly forward: Forward | undefined;
  /** A path of ours as a client should see it: relative, or below `publicUrl` where that is configured. */
  link(path: string): string;
}

/** A header that asks clients to show that an answer may be out of date. */
export function staleWarning(stale: boolean): Record<string, string> {
  return stale
    ? { Warning: '299 - "the registry cannot reach its metadata; this is the last known state"' }
    : {};
}
