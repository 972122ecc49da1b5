/** In whose name a request is made: a handler of Bun cannot see the certificate of its caller, but this header. */
import { createHmac, timingSafeEqual } from "node:crypto";
import { randomHex } from "../../base/clock.ts";
import { NODE_NAME } from "../../config/node-name.ts";
import type { ClusterKeys } from "./secret.ts";

export const TOKEN_HEADER = "holdfast-node-token";

/** How far apart the clocks of two nodes may be. */
const SKEW_MAX_MS = 300_000;
const PURPOSE = "holdfast peer token 1";

/** Who calls, or a sentence for the operator why the token is not accepted. */
export type Verdict = { readonly node: string } | { readonly refusal: string };

/** A token for one request of `node`; `now` in milliseconds since the epoch. */
export function signToken(keys: ClusterKeys, node: string, now: number): string {
  const claims = `${node}.${now}.${randomHex(16)}`;
  return `${claims}.${mac(keys, claims).toString("base64url")}`;
}

export function verifyToken(keys: ClusterKeys, token: string | null, now: number): Verdict {
  if (token === null) return { refusal: `the request has no header ${TOKEN_HEADER}` };
  const end = token.lastIndexOf(".");
  const claims = token.slice(0, Math.max(0, end));
  const [node = "", time = ""] = claims.split(".");
  const [given, right] = [Buffer.from(token.slice(end + 1), "base64url"), mac(keys, claims)];
  if (given.byteLength !== right.byteLength || !timingSafeEqual(given, right))
    return {
      refusal:
        `the header ${TOKEN_HEADER} was not signed with this cluster's secret ` +
        `(this node's secret has fingerprint ${keys.fingerprint})`,
    };
  if (!NODE_NAME.test(node)) return { refusal: `"${node}" is no name of a node` };
  const ahead = Number(time) - now;
  if (Math.abs(ahead) <= SKEW_MAX_MS) return { node };
  const skew = `${Math.round(Math.abs(ahead) / 1000)} s ${ahead > 0 ? "ahead of" : "behind"}`;
  return {
    refusal:
      `the clock of node ${node} is ${skew} this node's, and at most ${SKEW_MAX_MS / 1000} s are tolerated: ` +
      `let NTP set the clocks of both`,
  };
}

function mac(keys: ClusterKeys, claims: string): Buffer {
  return createHmac("sha256", keys.token).update(`${PURPOSE}\n${claims}`).digest();
}
