/** Several real nodes of one installation: started, ended and replaced as in operation. */
import { signal } from "./processes.ts";
import { startCluster } from "./cluster.ts";
import { newPlace, type DatabaseKind, type StoresKind } from "./shared-place.ts";
import { startServer, type ServerOptions, type TestServer } from "./server.ts";
import { startBalancer, type Balancer } from "./balancer.ts";

export interface NodesOptions extends Pick<ServerOptions, "workers" | "env" | "patience"> {
  /** Default 2. */
  readonly count?: number;
}

export interface Nodes extends AsyncDisposable {
  /** Those that run, the oldest first. */
  readonly live: readonly TestServer[];
  /** Starts one more, with a data directory of its own. */
  add(): Promise<TestServer>;
  /** Ends one by SIGTERM; throws when it does not end well. */
  drain(node: TestServer): Promise<void>;
  /** Ends one by SIGKILL, its workers with it. */
  kill(node: TestServer): Promise<void>;
  /** Everything that nodes have logged. */
  logs(): string;
}

/** Starts nodes that `env` leads to their database and bucket, all at once. */
export async function startNodes(options: NodesOptions): Promise<Nodes> {
  const live: TestServer[] = [];
  const all: TestServer[] = [];
  const remove = (node: TestServer): void => {
    const at = live.indexOf(node);
    if (at >= 0) live.splice(at, 1);
  };
  const nodes: Nodes = {
    live,
    async add() {
      const node = await startServer({ workers: 2, ...options });
      live.push(node);
      all.push(node);
      return node;
    },
    async drain(node) {
      // Its port goes on being asked until it closes, as with any balancer.
      await node.stop();
      remove(node);
    },
    async kill(node) {
      // A machine dies as a whole: no worker outlives its parent by the milliseconds that it takes to notice.
      for (const pid of [node.pid, ...node.workers()]) signal(pid, "SIGKILL");
      await node.kill();
      remove(node);
    },
    logs: () => all.map((node) => `--- ${node.host}\n${node.logs()}`).join("\n"),
    async [Symbol.asyncDispose]() {
      // Together: one that waits for another to end would wait in vain.
      const ended = await Promise.allSettled(all.map((node) => node.stop()));
      for (const one of ended) if (one.status === "rejected") throw one.reason;
    },
  };
  const started = await Promise.allSettled(
    Array.from({ length: options.count ?? 2 }, () => nodes.add()),
  );
  for (const one of started) {
    if (one.status === "fulfilled") continue;
    await nodes[Symbol.asyncDispose]();
    throw one.reason;
  }
  return nodes;
}

export interface BalancedNodes extends AsyncDisposable {
  readonly nodes: Nodes;
  readonly balancer: Balancer;
}

/** A registry of several nodes of any kind, of which the balancer is all that is seen. */
export async function startBalanced(
  kind: StoresKind,
  options: Pick<NodesOptions, "env"> = {},
): Promise<Pick<BalancedNodes, "balancer"> & AsyncDisposable> {
  if (kind !== "cluster") return startBalancedNodes(kind, options);
  await using held = new AsyncDisposableStack();
  const { nodes } = held.use(await startCluster(options));
  const balancer = held.use(await startBalancer(() => nodes.filter(({ isRunning }) => isRunning)));
  const all = held.move();
  return { balancer, [Symbol.asyncDispose]: () => all.disposeAsync() };
}

/** Nodes at a new place with a balancer before them. */
export async function startBalancedNodes(
  kind: DatabaseKind,
  options: NodesOptions = {},
): Promise<BalancedNodes> {
  await using held = new AsyncDisposableStack();
  const place = held.use(await newPlace(kind));
  const nodes = held.use(await startNodes({ ...options, env: { ...place.env, ...options.env } }));
  const balancer = held.use(await startBalancer(() => nodes.live));
  const all = held.move();
  return { nodes, balancer, [Symbol.asyncDispose]: () => all.disposeAsync() };
}
