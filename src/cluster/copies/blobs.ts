/** The BlobStore of a cluster: this node's disk, and copies on the disks of the others. */
import { isDigestOf } from "../../blobs/content.ts";
import type { Logger } from "../../base/log.ts";
import { placeKeyOf, type PlacedStore } from "../../blobs/placed.ts";
import {
  BlobStoreUnavailable,
  type BlobBody,
  type BlobStore,
  type BlobUpload,
  type ByteRange,
  type ListedBlob,
  type Locator,
  type StoredBlob,
} from "../../blobs/port.ts";
import type { Algorithm, Digest } from "../../oci/digest.ts";
import { randomHex } from "../../base/clock.ts";
import type { NodeState } from "../node.ts";
import { PeerUnavailable } from "../peer/port.ts";
import { Backlog } from "./backlog.ts";
import { Others, type OthersOptions } from "./others.ts";
import { Pushes } from "./pushes.ts";
import { blobPath, headMs, sendBytes } from "./send.ts";
import { isShadow } from "./shadow-names.ts";
import { ShadowCalls } from "./shadow-calls.ts";
import { spread } from "./spread.ts";
import { Through } from "./through.ts";
import { CopiedUpload } from "./upload.ts";

export interface ClusterBlobsOptions extends OthersOptions {
  /** This node's store; closed with the cluster's. */
  readonly local: PlacedStore;
  readonly log: Logger;
  /** Told of a blob that this node should hold, and another one does. */
  readonly onMissing?: (locator: Locator, size: number) => void;
}

/** `list`, `space`, `uploads` and `uploadSize` are about this node's disk. */
export function openClusterBlobs(options: ClusterBlobsOptions): BlobStore {
  return new ClusterBlobs(options);
}

/** Milliseconds for a node to remove a file, and to make sure of one that it has. */
const DELETE_MS = 5000;
const SYNC_MS = 5000;

class ClusterBlobs implements BlobStore {
  readonly home: string;
  readonly #local: PlacedStore;
  readonly #others: Others;
  readonly #pushes: Pushes;
  readonly #backlog = new Backlog();
  readonly #log: Logger;
  readonly #onMissing: (locator: Locator, size: number) => void;

  constructor(options: ClusterBlobsOptions) {
    this.home = options.nodes.self;
    this.#local = options.local;
    this.#others = new Others(options);
    this.#pushes = new Pushes(this.#others, options.local);
    this.#log = options.log;
    this.#onMissing = options.onMissing ?? (() => {});
  }

  stat(locator: Locator): Promise<number | undefined> {
    return ownOr(this.#local.stat(locator), () => this.#statElsewhere(locator));
  }

  async #statElsewhere(locator: Locator): Promise<number | undefined> {
    const nodes = this.#others.toRead(placeKeyOf(locator));
    try {
      // The first that has it will do: another one may hang.
      const size = await Promise.any(nodes.map((node) => this.#sizeAt(node, locator)));
      this.#missed(locator, size);
      return size;
    } catch (error) {
      const failures = error instanceof AggregateError ? (error.errors as unknown[]) : [error];
      const failed = failures.find((failure) => !(failure instanceof Absent));
      if (failed === undefined) return undefined;
      throw new BlobStoreUnavailable(
        `no node that can be reached has the blob ${locator} (${messageOf(failed)})`,
        { cause: failed },
      );
    }
  }

  /**
   * As many copies are there as a push waits for. Of a node that does not say whether its copy is durable, one that is
   * there counts.
   */
  async isDurable(locator: Locator, size: number): Promise<boolean> {
    const own = await this.#local.sync(locator).catch(() => undefined);
    const wanted = this.#others.durable() - (own === size ? 1 : 0);
    const { first, further } = this.#others.toWrite(placeKeyOf(locator));
    const live = further.filter(({ isLive }) => isLive);
    const { isEnough } = await spread({ first, further: live, wanted }, (node) =>
      this.#requireCopy(node, locator, size),
    );
    return isEnough;
  }

  /** Throws where the node has no copy, or cannot make it durable. */
  async #requireCopy(node: NodeState, locator: Locator, size: number): Promise<void> {
    const path = `${blobPath(locator)}?size=${size}`;
    const request = { method: "POST", timeoutMs: SYNC_MS } as const;
    const answer = await this.#others.fetch(node, path, request).catch((error: unknown) => {
      if (!(error instanceof PeerUnavailable)) throw error;
      return undefined;
    });
    await answer?.body?.cancel();
    if (answer?.ok) return;
    // Too slow, out of reach for a moment, or older than this question.
    const isOpen = answer === undefined || answer.status === 405;
    if (!isOpen || (await this.#sizeAt(node, locator)) !== size) throw new Absent();
  }

  open(locator: Locator, size: number, range?: ByteRange): Promise<BlobBody | undefined> {
    return ownOr<BlobBody>(this.#local.open(locator, size, range), async () => {
      const nodes = this.#others.toRead(placeKeyOf(locator));
      const blob = { locator, size };
      const body = await new Through(this.#others, this.#log, blob, nodes, range).open();
      if (body !== undefined) this.#missed(locator, size);
      return body;
    });
  }

  read(locator: Locator, size: number): Promise<Uint8Array<ArrayBuffer> | undefined> {
    return ownOr(this.#local.read(locator, size), () => this.#readElsewhere(locator, size));
  }

  async #readElsewhere(
    locator: Locator,
    size: number,
  ): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const digest = this.#local.digestOf(locator);
    if (digest === undefined) return undefined;
    let nodes = this.#others.toRead(placeKeyOf(locator));
    while (nodes.length > 0) {
      const through = new Through(this.#others, this.#log, { locator, size }, nodes);
      const body = await through.open();
      if (body === undefined) return undefined;
      const bytes = new Uint8Array(await new Response(body).arrayBuffer());
      if (isDigestOf(digest, bytes)) {
        this.#missed(locator, size);
        return bytes;
      }
      const liars = [...through.sources];
      this.#log.error("a node holds wrong bytes for a blob; they were not served", {
        locator,
        nodes: liars.join(", "),
      });
      if (liars.length === 0) return undefined;
      nodes = nodes.filter(({ name }) => !liars.includes(name));
    }
    return undefined;
  }

  async put(digest: Digest, bytes: Uint8Array<ArrayBuffer>): Promise<StoredBlob> {
    const key = this.#others.keyFor(randomHex(8));
    const locator = this.#local.newLocator(digest, key);
    const targets = this.#backlog.without(this.#others.toWrite(key), bytes.byteLength);
    const push = this.#pushes.begin();
    const copies = spread(targets, (node) =>
      this.#backlog.during(node, bytes.byteLength, () =>
        sendBytes(this.#others, node, locator, bytes, push.signal),
      ),
    );
    let stored: StoredBlob;
    try {
      stored = await this.#local.place(locator, bytes);
    } catch (error) {
      push.abort(error);
      await this.#pushes.giveUp(push, locator, await copies);
      throw error;
    }
    const outcome = await copies;
    if (outcome.isEnough) {
      this.#pushes.goOn(push, outcome);
      return stored;
    }
    await this.#pushes.giveUp(push, locator, outcome);
    throw this.#pushes.tooFew(outcome);
  }

  async upload(id: string, algorithm: Algorithm): Promise<BlobUpload> {
    const own = await this.#local.upload(id, algorithm);
    return new CopiedUpload({
      id,
      algorithm,
      own,
      local: this.#local,
      pushes: this.#pushes,
    });
  }

  uploadSize(id: string): Promise<number | undefined> {
    return this.#local.uploadSize(id);
  }

  async discard(id: string): Promise<void> {
    await this.#local.discard(id);
    await new ShadowCalls(this.#others, id).discard();
  }

  /** Without those in which this node keeps what others receive: they are purged where they are. */
  async *uploads(): AsyncIterable<{ readonly id: string; readonly modified: number }> {
    for await (const upload of this.#local.uploads()) if (!isShadow(upload.id)) yield upload;
  }

  list(after?: Locator): AsyncIterable<ListedBlob> {
    return this.#local.list(after);
  }

  async delete(locator: Locator): Promise<void> {
    const nodes = this.#others.all();
    const outcomes = await Promise.allSettled([
      this.#local.delete(locator),
      ...nodes.map((node) => this.#deleteAt(node, locator)),
    ]);
    const [own, ...others] = outcomes;
    if (own?.status === "rejected") throw own.reason;
    const failures = others.flatMap((outcome, index) =>
      outcome.status === "rejected" ? [`${nodes[index]?.name}: ${messageOf(outcome.reason)}`] : [],
    );
    if (failures.length === 0) return;
    throw new BlobStoreUnavailable(
      `the blob ${locator} may still be on ${failures.length} of ${nodes.length + 1} nodes ` +
        `(${failures.join("; ")}): its removal has to be repeated`,
    );
  }

  space(): Promise<{ readonly free: number; readonly total: number } | undefined> {
    return this.#local.space();
  }

  async close(): Promise<void> {
    await this.#pushes.close();
    await this.#local.close();
  }

  /** Throws `Absent`, or why it is not known. */
  async #sizeAt(node: NodeState, locator: Locator): Promise<number> {
    const response = await this.#others.fetch(node, blobPath(locator), {
      method: "HEAD",
      timeoutMs: headMs(node),
    });
    await response.body?.cancel();
    if (response.status === 404) throw new Absent();
    const size = response.headers.get("content-length");
    if (response.ok && size !== null) return Number(size);
    throw new Error(`${node.name} answered ${response.status}`);
  }

  async #deleteAt(node: NodeState, locator: Locator): Promise<void> {
    if (!node.isLive) throw new Error("it is not live");
    const request = { method: "DELETE", timeoutMs: DELETE_MS } as const;
    await this.#others.order(node, blobPath(locator), request);
  }

  #missed(locator: Locator, size: number): void {
    if (this.#others.isHere(placeKeyOf(locator))) this.#onMissing(locator, size);
  }
}

/** What this node's store has, or else the others: also where its disk fails, which is said if they have nothing. */
async function ownOr<T>(
  own: Promise<T | undefined>,
  elsewhere: () => Promise<T | undefined>,
): Promise<T | undefined> {
  let failure: { readonly error: unknown } | undefined;
  const held = await own.catch((error: unknown) => {
    failure = { error };
    return undefined;
  });
  const found = held ?? (await elsewhere());
  if (found === undefined && failure !== undefined) throw failure.error;
  return found;
}

/** A node says that it has no such blob. */
class Absent extends Error {}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
