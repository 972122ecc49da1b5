/** The cluster as a command sees it: through the node that runs on a data directory of this machine. */
import { accessSync, constants } from "node:fs";
import { withSocketName } from "../base/socket-path.ts";
import { adminSocketPath } from "./admin-socket.ts";
import type {
  ClusterStatus,
  NodeAction,
  NodeActionAnswer,
  NodeActionRequest,
} from "./cluster-status.ts";
import { StartError, errorCode } from "./start-error.ts";

/** Until the head of an answer is there. */
const PATIENCE_MS = 30_000;

/** Throws `StartError` where no node of a cluster answers on the data directory. */
export async function clusterStatus(directory: string): Promise<ClusterStatus> {
  return answer<ClusterStatus>(await ask(directory, "/cluster/status"));
}

/** Throws `StartError` also where there is no such node, or the cluster refuses; the message says why. */
export async function nodeAction(
  directory: string,
  node: string,
  action: NodeAction,
  request: NodeActionRequest,
): Promise<NodeActionAnswer> {
  const { nodes } = await clusterStatus(directory);
  const names = nodes.map(({ name }) => name);
  // What is left of a node that never came up can be removed by its address.
  if (action !== "remove" && !names.includes(node))
    throw new StartError(`there is no node "${node}"; the cluster has ${names.join(", ")}`);
  const response = await ask(directory, `/cluster/nodes/${encodeURIComponent(node)}/${action}`, {
    method: "POST",
    body: JSON.stringify(request),
  });
  return answer<NodeActionAnswer>(response);
}

async function ask(directory: string, route: string, init: RequestInit = {}): Promise<Response> {
  const path = adminSocketPath(directory);
  try {
    accessSync(path, constants.R_OK | constants.W_OK);
    return await withSocketName(path, (unix) => {
      const signal = AbortSignal.timeout(PATIENCE_MS);
      return fetch(`http://holdfast${route}`, { ...init, signal, unix });
    });
  } catch (error) {
    throw new StartError(unanswered(directory, error), { cause: error });
  }
}

/** Why there is no answer from the server on a data directory. */
export function unanswered(directory: string, error: unknown): string {
  if (error instanceof Error && error.name === "TimeoutError")
    return `the server on the data directory ${directory} does not answer; see its log`;
  if (errorCode(error) === "EACCES")
    return `this user may not talk to the server on the data directory ${directory}: run this as the user that the server runs as`;
  return `no server answers on the data directory ${directory}: start it with \`holdfast serve\`, or see in its log what it waits for, or name the directory of another with --data`;
}

async function answer<T>(response: Response): Promise<T> {
  const body: unknown = await response.json().catch(() => undefined);
  if (response.ok && typeof body === "object" && body !== null) return body as T;
  throw refusalIn(body, response);
}

/** What the server says why it did not do what it was asked. */
export async function refusalOf(response: Response): Promise<StartError> {
  return refusalIn(await response.json().catch(() => undefined), response);
}

function refusalIn(body: unknown, { status }: Response): StartError {
  return new StartError(
    typeof body === "object" && body !== null && "error" in body
      ? String(body.error)
      : `the server answered with status ${status}; see its log`,
  );
}
