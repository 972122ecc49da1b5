/** Requests that may take long: a node that stands still, or has lost its power, breaks no connection. */
import type { Nodes, NodeState } from "./node.ts";
import { PeerUnavailable } from "./peer/port.ts";

/** A node that failed a request is asked again; one that has been away for so long is dead, or stands still. */
const AWAY_MS = 2000;
const LOOK_MS = 500;

/** Whether the node is gone, rather than just busy or starting again. */
export function isAway(node: NodeState | undefined): boolean {
  if (node === undefined) return true;
  return node.downSince !== undefined && performance.now() - node.downSince > AWAY_MS;
}

/** Runs `ask`, whose signal aborts with `PeerUnavailable` once the node of this name is away, or as `signal` does. */
export async function whileLive<T>(
  nodes: Nodes,
  name: string,
  signal: AbortSignal | undefined,
  ask: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const lost = new AbortController();
  const looking = setInterval(() => {
    if (isAway(nodes.all().find((node) => node.name === name)))
      lost.abort(new PeerUnavailable(`node ${name} does not live any more`));
  }, LOOK_MS);
  try {
    return await ask(signal ? AbortSignal.any([signal, lost.signal]) : lost.signal);
  } finally {
    clearInterval(looking);
  }
}
