/** Nodes of a cluster in one process, each with a real disk and a real peer port. */
import fs from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Logger } from "../../base/log.ts";
import { openFileStore } from "../../blobs/file/store.ts";
import type { PlacedStore } from "../../blobs/placed.ts";
import type { BlobStore, Locator } from "../../blobs/port.ts";
import type { Nodes, NodeState } from "../node.ts";
import { ClusterCertificates, clusterKeys, connectPeers, servePeers } from "../peer/index.ts";
import type { PeerHandler, Peers } from "../peer/port.ts";
import { openClusterBlobs } from "./blobs.ts";
import { copiesHandlers } from "./serve.ts";

const KEYS = clusterKeys("a secret of no importance, thirty-two bytes and more");
const quiet = (): void => {};
export const QUIET: Logger = {
  debug: quiet,
  info: quiet,
  warn: quiet,
  error: quiet,
  request: quiet,
};

type Change = Partial<Pick<NodeState, "isLive" | "address" | "draining" | "space">>;

export interface ClusterOptions {
  readonly names?: readonly string[];
  readonly copies?: number;
  readonly durable?: number;
  /** Stands before the handlers of a node's blobs and uploads. */
  readonly before?: (node: string, request: Request) => Promise<Response | undefined> | undefined;
}

/** Nodes, each of which can be stopped and started again. */
export class TestCluster {
  readonly directory: string;
  readonly nodes: readonly TestNode[];

  private constructor(directory: string, nodes: readonly TestNode[]) {
    this.directory = directory;
    this.nodes = nodes;
  }

  static async open(options: ClusterOptions = {}): Promise<TestCluster> {
    const { names = ["n1", "n2", "n3"] } = options;
    const directory = await mkdtemp(join(tmpdir(), "holdfast-copies-"));
    const states = new Map<string, NodeState>(
      names.map((name) => [
        name,
        { name, address: "", store: `store-${name}`, isLive: true, downSince: undefined },
      ]),
    );
    const nodes = names.map((name) => new TestNode(name, join(directory, name), states, options));
    await Promise.all(nodes.map((node) => node.start()));
    return new TestCluster(directory, nodes);
  }

  node(index: number): TestNode {
    const node = this.nodes[index];
    if (node === undefined) throw new Error(`there is no node ${index}`);
    return node;
  }

  async close(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.end()));
    await rm(this.directory, { recursive: true });
  }
}

export class TestNode {
  readonly name: string;
  readonly directory: string;
  readonly missing: Locator[] = [];
  /** Chosen by the system at the first start. */
  port = 0;
  readonly #states: Map<string, NodeState>;
  readonly #options: ClusterOptions;
  readonly #certificates: ClusterCertificates;
  readonly #peers: Peers & Disposable;
  readonly #handles: BlobStore[] = [];
  #server: ReturnType<typeof servePeers> | undefined;
  #local: PlacedStore | undefined;

  constructor(
    name: string,
    directory: string,
    states: Map<string, NodeState>,
    options: ClusterOptions,
  ) {
    this.name = name;
    this.directory = directory;
    this.#states = states;
    this.#options = options;
    this.#certificates = new ClusterCertificates({ keys: KEYS, node: name, hosts: [] });
    this.#peers = connectPeers({ certificates: this.#certificates, keys: KEYS, self: name });
  }

  /** What serves the other nodes. */
  get local(): PlacedStore {
    if (this.#local === undefined) throw new Error(`${this.name} is stopped`);
    return this.#local;
  }

  async start(): Promise<void> {
    this.#local = await openFileStore({ directory: this.directory });
    const { blobs, uploads } = copiesHandlers(this.#local);
    this.#server = servePeers({
      address: { hostname: "127.0.0.1", port: this.port },
      certificates: this.#certificates,
      keys: KEYS,
      handlers: { "/v1/blobs": this.#guarded(blobs), "/v1/uploads": this.#guarded(uploads) },
      log: QUIET,
    });
    this.port = this.#server.port;
    this.say({ isLive: true, address: `127.0.0.1:${this.port}` });
  }

  /** Cuts all connections. The others find out by themselves. */
  async stop(): Promise<void> {
    await this.#server?.close(0);
    this.#server = undefined;
    await this.#local?.close();
    this.#local = undefined;
  }

  /** What all nodes know of this one. */
  say(change: Change): void {
    const state = this.#states.get(this.name);
    if (state) this.#states.set(this.name, { ...state, ...change });
  }

  /** The cluster's store as one process of this node has it. */
  async open(): Promise<BlobStore> {
    const { copies = 3, durable } = this.#options;
    const store = openClusterBlobs({
      local: await openFileStore({ directory: this.directory }),
      nodes: this.#nodes(),
      peers: this.#peers,
      copies,
      durable,
      log: QUIET,
      onMissing: (locator) => this.missing.push(locator),
    });
    this.#handles.push(store);
    return store;
  }

  /** Every file of the store with its bytes, uploads included. */
  files(): Map<string, Buffer> {
    const entries = fs.readdirSync(this.directory, { recursive: true, withFileTypes: true });
    const paths = entries.filter((entry) => entry.isFile());
    return new Map(
      paths.map(({ parentPath, name }) => {
        const path = join(parentPath, name);
        return [path.slice(this.directory.length + 1), fs.readFileSync(path)];
      }),
    );
  }

  async end(): Promise<void> {
    for (const handle of this.#handles) await handle.close();
    await this.stop();
    this.#peers[Symbol.dispose]();
  }

  #guarded(handler: PeerHandler): PeerHandler {
    return async (request, path, caller) =>
      (await this.#options.before?.(this.name, request)) ?? (await handler(request, path, caller));
  }

  #nodes(): Nodes {
    return {
      self: this.name,
      all: () => [...this.#states.values()],
      failed: () => {},
      onChange: () => () => {},
    };
  }
}

/** Resolves when `isSo`, looking again and again for at most `ms`; throws then. */
export async function eventually(isSo: () => boolean | Promise<boolean>, ms = 5000): Promise<void> {
  const end = performance.now() + ms;
  while (!(await isSo())) {
    if (performance.now() > end) throw new Error("it has not come to it in time");
    await Bun.sleep(10);
  }
}
