/** Nodes in one process: real stores, peer ports and metadata, each with its healer. */
import fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Logger } from "../../base/log.ts";
import { openFileStore } from "../../blobs/file/store.ts";
import { placeKey, PLACE_KEYS, type PlacedStore } from "../../blobs/placed.ts";
import { digestOf } from "../../blobs/conformance-tools.ts";
import type { StoredBlob } from "../../blobs/port.ts";
import { keys } from "../../meta/keys.ts";
import type { MetaStore } from "../../meta/port.ts";
import { Presence } from "../../meta/presence.ts";
import { openWriter } from "../../meta/sqlite/index.ts";
import type { Digest } from "../../oci/digest.ts";
import { copiesHandlers } from "../copies/serve.ts";
import type { NodeRecord, Nodes } from "../node.ts";
import { registerNode } from "../nodes/membership.ts";
import { openNodes } from "../nodes/nodes.ts";
import { ClusterCertificates, clusterKeys, connectPeers, servePeers } from "../peer/index.ts";
import { placementOfKey } from "../placement.ts";
import { startHealer, type Healer, type HealerOptions, type HealingTimes } from "./healer.ts";
import { clusterHealing, type ClusterHealing } from "./numbers.ts";

export const SECRET = clusterKeys("an example secret of more than thirty-two bytes");
export const DOWN_AFTER_MS = 4000;
const TIMES: HealingTimes = {
  tick: 50,
  round: 60_000,
  again: 200,
  newBlob: 200,
  publish: 50,
  surplus: 3_600_000,
};

export interface TestNode {
  readonly name: string;
  readonly directory: string;
  readonly store: PlacedStore;
  readonly nodes: Nodes;
  readonly healer: Healer;
  /** Lines of warnings and errors. */
  readonly lines: string[];
  /** Ends everything of it, as if the machine were gone, but for the disk. */
  kill(): Promise<void>;
}

export interface StartOptions extends Partial<
  Pick<HealerOptions, "bytesPerSecond" | "copies" | "clock">
> {
  readonly times?: Partial<HealingTimes>;
  /** Starts with an empty disk, whatever it had. */
  readonly emptied?: boolean;
  readonly more?: Partial<NodeRecord>;
  /** What stands between healer and store. */
  readonly wrap?: (store: PlacedStore) => PlacedStore;
  /** What stands between healer and metadata. */
  readonly wrapMeta?: (meta: MetaStore) => MetaStore;
}

export class TestCluster implements AsyncDisposable {
  readonly #root = fs.mkdtempSync(join(tmpdir(), "holdfast-healing-"));
  readonly meta: MetaStore = openWriter({ path: join(this.#root, "meta.db") });
  readonly #running = new Map<string, TestNode>();
  #run = 0;

  async start(name: string, options: StartOptions = {}): Promise<TestNode> {
    const { meta } = this;
    const directory = join(this.#root, name);
    if (options.emptied) fs.rmSync(directory, { recursive: true });
    const isNew = !fs.existsSync(directory);
    const store = await openFileStore({ directory });
    const id = join(directory, "store-id");
    if (isNew) fs.writeFileSync(id, crypto.randomUUID());
    const run = `${name}-${++this.#run}`;
    const presence = await Presence.begin({ meta, run });
    const lines: string[] = [];
    const note = (message: string, fields = {}) => lines.push(`${message} ${Bun.inspect(fields)}`);
    const log: Logger = { debug() {}, info() {}, request() {}, warn: note, error: note };
    const certificates = new ClusterCertificates({ keys: SECRET, node: name, hosts: [] });
    const server = servePeers({
      address: { hostname: "127.0.0.1", port: 0 },
      certificates,
      keys: SECRET,
      handlers: { "/v1/blobs": copiesHandlers(store).blobs },
      log,
    });
    await registerNode(meta, presence, {
      name,
      address: `127.0.0.1:${server.port}`,
      store: fs.readFileSync(id, "utf8"),
      run,
      ...options.more,
    });
    const nodes = await openNodes({ meta, presence, self: name });
    const peers = connectPeers({ certificates, keys: SECRET, self: name });
    const healer = startHealer({
      meta: options.wrapMeta?.(meta) ?? meta,
      blobs: options.wrap?.(store) ?? store,
      nodes,
      peers,
      copies: options.copies ?? 3,
      downAfterMs: DOWN_AFTER_MS,
      log,
      ...(options.bytesPerSecond === undefined ? {} : { bytesPerSecond: options.bytesPerSecond }),
      ...(options.clock === undefined ? {} : { clock: options.clock }),
      times: { ...TIMES, ...options.times },
    });
    const node: TestNode = {
      name,
      directory,
      store,
      nodes,
      healer,
      lines,
      kill: async () => {
        if (!this.#running.delete(name)) return;
        await healer[Symbol.asyncDispose]();
        await nodes[Symbol.asyncDispose]();
        peers[Symbol.dispose]();
        await server.close(0);
        await presence[Symbol.asyncDispose]();
        await store.close();
      },
    };
    this.#running.set(name, node);
    return node;
  }

  /** Notes a blob, whose bytes only these nodes have. */
  async push(
    bytes: Uint8Array<ArrayBuffer>,
    holders: readonly TestNode[],
    key?: string,
  ): Promise<StoredBlob> {
    const digest = digestOf(bytes);
    const [first] = holders;
    if (first === undefined) throw new Error("a blob needs a holder");
    const locator = first.store.newLocator(digest, key);
    for (const { store } of holders) await store.place(locator, bytes);
    const blob = { locator, size: bytes.byteLength };
    const value = JSON.stringify({ ...blob, verified: true, at: Date.now() });
    await this.meta.commit({ put: [{ key: keys.blob(digest), value }] });
    return blob;
  }

  /** The same for a blob that those nodes have which should. */
  pushPlaced(
    bytes: Uint8Array<ArrayBuffer>,
    nodes: readonly TestNode[],
    copies: number,
  ): Promise<StoredBlob> {
    const key = placeKey(Math.floor(Math.random() * PLACE_KEYS));
    const names = placementOfKey(key, nodes[0]?.nodes.all() ?? [], copies).holders.map(
      ({ name }) => name,
    );
    return this.push(
      bytes,
      nodes.filter(({ name }) => names.includes(name)),
      key,
    );
  }

  async remove(digest: Digest): Promise<void> {
    await this.meta.commit({ delete: [keys.blob(digest)] });
  }

  /** As this node sees it. */
  healing({ nodes }: TestNode, copies = 3): Promise<ClusterHealing> {
    return clusterHealing(this.meta, { nodes, copies, downAfterMs: DOWN_AFTER_MS });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#running.values()].map((node) => node.kill()));
    await this.meta.close();
    fs.rmSync(this.#root, { recursive: true });
  }
}

/** Resolves to what `probe` comes to once it is not `undefined` or false. */
export async function until<T>(
  probe: () => Promise<T | false | undefined> | T | false | undefined,
  ms = 15_000,
): Promise<T> {
  const deadline = performance.now() + ms;
  for (;;) {
    const found = await probe();
    if (found !== undefined && found !== false) return found;
    if (performance.now() > deadline) throw new Error(`not within ${ms} ms: ${probe.toString()}`);
    await Bun.sleep(20);
  }
}

/** Whether the store holds all of these, byte for byte as far as their sizes tell. */
export async function holdsAll(node: TestNode, blobs: readonly StoredBlob[]): Promise<boolean> {
  const sizes = await Promise.all(blobs.map(({ locator }) => node.store.stat(locator)));
  return blobs.every(({ size }, i) => sizes[i] === size);
}
