/** Asks other nodes about membership. A failure is a value: part of a sentence for the log. */
import type * as z from "zod";
import { PeerUnavailable, type Peers } from "../peer/port.ts";
import {
  admissionSchema,
  answerSchema,
  refusalSchema,
  type Admission,
  type NodeAnswer,
  type Seat,
} from "./records.ts";
import type { Heard, Seed } from "./witnesses.ts";

const ASK_MS = 2000;
const BODY_MS = 1000;
/** Longer than the one who lets in takes at most (`LET_IN_MS`), so that a second try never meets the first. */
export const JOIN_MS = 10_000;

export interface Failure {
  readonly failure: string;
  /** Repeating it is of no use. */
  readonly isFinal: boolean;
}

/** What a node says of itself. */
export function askState(
  peers: Peers,
  { name, address }: Seed,
  signal?: AbortSignal,
): Promise<NodeAnswer | Failure> {
  const request = { method: "GET", timeoutMs: ASK_MS } as const;
  const send = (whole: AbortSignal): Promise<Response> =>
    peers.fetch(address, "/v1/state", { ...request, signal: whole });
  return ask(name ?? address, send, answerSchema, bounded(ASK_MS, signal));
}

/** One round: all seeds at once. */
export function askAll(
  peers: Peers,
  seeds: readonly Seed[],
  signal?: AbortSignal,
): Promise<Heard[]> {
  return Promise.all(
    seeds.map(async (seed) => ({ seed, answer: await askState(peers, seed, signal) })),
  );
}

/** Asks the member at `via` to let this node in, as one without any etcd data. */
export function askAdmission(
  peers: Peers,
  via: Seat,
  self: Seat,
  cluster: string,
  signal?: AbortSignal,
): Promise<Admission | Failure> {
  const request = {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ cluster, seat: self }),
    timeoutMs: JOIN_MS,
  } as const;
  const send = (whole: AbortSignal): Promise<Response> =>
    peers.fetch(via.address, "/v1/join", { ...request, signal: whole });
  return ask(via.name, send, admissionSchema, bounded(JOIN_MS, signal));
}

/** `timeoutMs` of a request is for the head of its answer, which tells more of the cause; this is for all of it. */
function bounded(ms: number, signal: AbortSignal | undefined): AbortSignal {
  const whole = AbortSignal.timeout(ms + BODY_MS);
  return signal === undefined ? whole : AbortSignal.any([signal, whole]);
}

async function ask<T>(
  name: string,
  send: (signal: AbortSignal) => Promise<Response>,
  schema: z.ZodType<T>,
  signal: AbortSignal,
): Promise<T | Failure> {
  try {
    const response = await send(signal);
    const body: unknown = await response.json();
    if (response.ok) return schema.parse(body);
    const refusal = refusalSchema.parse(body);
    return { failure: `${name}: ${refusal.error}`, isFinal: response.status === 409 };
  } catch (error) {
    if (error instanceof PeerUnavailable)
      return { failure: `${name}: ${error.message}`, isFinal: false };
    const what = error instanceof Error ? error.name : String(error);
    return { failure: `${name} gives no answer that is understood (${what})`, isFinal: false };
  }
}
