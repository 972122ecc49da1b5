/** Requests at nodes of which some are always in trouble, and what is written down of them. */
import type { TestNode } from "../../support/cluster.ts";
import type { Random } from "../../support/random.ts";
import type { Init } from "../../shared/support/api.ts";
import type { State } from "./chaos-items.ts";

/** A node that is frozen, or cannot be heard, answers no sooner. */
const PATIENCE_MS = 40_000;
const FAILURES_MAX = 60;

export interface Answer {
  readonly node: string;
  readonly status: number;
  readonly headers: Headers;
  readonly bytes: Uint8Array;
  /** `performance.now()` around the request. */
  readonly start: number;
  readonly end: number;
  /** It says that it is the last known state. */
  readonly isStale: boolean;
}

/** A request that got no whole answer. */
export interface Silence {
  readonly node: string;
  readonly status: 0;
  readonly reason: string;
  readonly start: number;
  readonly end: number;
}

/** A pull that was not answered as it should have been at the first node. */
export interface Incident {
  readonly node: string;
  readonly start: number;
  readonly end: number;
  /** 0 for none. */
  readonly status: number;
  readonly text: string;
  /** What was asked for is certainly there: of anything else it may be said that nobody knows at the moment. */
  readonly isThere: boolean;
}

/** What all clients do and see. */
export class Record {
  /** What must not happen, each with its moment. */
  readonly failures: string[] = [];
  readonly incidents: Incident[] = [];
  /** What pushes were refused with. */
  readonly pushes: string[] = [];
  readonly counts = new Map<string, number>();
  readonly longest = { push: 0, pull: 0 };
  readonly origin: number = performance.now();

  count(kind: string): void {
    this.counts.set(kind, (this.counts.get(kind) ?? 0) + 1);
  }

  fail(what: string): void {
    if (this.failures.length < FAILURES_MAX) this.failures.push(`${this.at()} ${what}`);
  }

  /** A moment as the time of day, as the nodes' logs have it, and seconds since the beginning. */
  at(moment: number = performance.now()): string {
    const date = new Date(performance.timeOrigin + moment).toISOString();
    return `${date.slice(11, 23)} (${((moment - this.origin) / 1000).toFixed(2)} s)`;
  }
}

export async function ask(
  node: TestNode,
  path: string,
  init: Init = {},
): Promise<Answer | Silence> {
  const start = performance.now();
  try {
    const answer = await fetch(new URL(path, node.url), {
      ...init,
      headers: { ...init.headers, connection: "close" },
      signal: AbortSignal.timeout(PATIENCE_MS),
    });
    const bytes = await answer.bytes();
    const { status, headers } = answer;
    const isStale = headers.get("warning")?.startsWith("299") === true;
    return { node: node.name, status, headers, bytes, start, end: performance.now(), isStale };
  } catch (error) {
    return { node: node.name, status: 0, reason: String(error), start, end: performance.now() };
  }
}

export interface Puller {
  readonly record: Record;
  readonly random: Random;
  /** Where a client would turn to now, in any order; never empty. */
  readonly nodes: () => readonly TestNode[];
}

/**
 * GET or HEAD at some node, and at the others where it fails; what fails at all of them though it is there is a failure.
 */
export async function pull(
  { record, random, nodes }: Puller,
  path: string,
  certain: () => State,
  init: Init = {},
): Promise<Answer | undefined> {
  const asked: string[] = [];
  const began = performance.now();
  for (const node of random.shuffled(nodes())) {
    const answer = await ask(node, path, init);
    if (!("reason" in answer) && answer.status < 500) {
      record.longest.pull = Math.max(record.longest.pull, answer.end - began);
      return answer;
    }
    const text = "reason" in answer ? answer.reason : decode(answer.bytes);
    const { start, end, status } = answer;
    const isThere = certain() === "there";
    const what = `${init.method ?? "GET"} ${path}: ${text}`;
    record.incidents.push({ node: node.name, start, end, status, text: what, isThere });
    asked.push(`${node.name} ${record.at(start)}–${record.at(end)}: ${status} ${text}`);
  }
  record.count("unknown everywhere");
  if (certain() === "there")
    record.fail(`${path} failed at every node:\n    ${asked.join("\n    ")}`);
  return undefined;
}

export function decode(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes.subarray(0, 300)).trim();
}
