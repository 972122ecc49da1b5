/** A blob's bytes from other nodes: whoever reads does not notice when one of them dies. */
import { BlobStoreUnavailable, type ByteRange, type Locator } from "../../blobs/port.ts";
import type { Logger } from "../../base/log.ts";
import type { NodeState } from "../node.ts";
import type { Others } from "./others.ts";
import { Patience } from "./patience.ts";
import { blobPath, headMs } from "./send.ts";
import type { Chunk } from "./shadow.ts";

/** Without a byte that a reader waits for, in milliseconds. */
const IDLE_MS = 5000;

interface Part {
  readonly node: NodeState;
  readonly reader: {
    read(): Promise<{ readonly done: boolean; readonly value?: Chunk | undefined }>;
  };
  readonly patience: Patience;
}

export class Through {
  readonly #others: Others;
  readonly #log: Logger;
  readonly #locator: Locator;
  readonly #size: number;
  /** Best to ask first. */
  readonly #nodes: readonly NodeState[];
  /** The end of what is read, exclusive, and how far it has come. */
  readonly #end: number;
  #at: number;
  #isCancelled = false;
  /** Nodes that have failed, by what they met, or have none, since the last byte. */
  readonly #tried = new Map<string, Error | undefined>();

  constructor(
    others: Others,
    log: Logger,
    blob: { readonly locator: Locator; readonly size: number },
    nodes: readonly NodeState[],
    range?: ByteRange,
  ) {
    this.#others = others;
    this.#log = log;
    this.#locator = blob.locator;
    this.#size = blob.size;
    this.#nodes = nodes;
    this.#at = range?.start ?? 0;
    this.#end = range ? range.end + 1 : blob.size;
  }

  /** Names of the nodes that gave bytes. */
  readonly sources = new Set<string>();

  /** A body; `undefined` where all nodes say that they have none of this size. Throws `BlobStoreUnavailable`. */
  async open(): Promise<ReadableStream<Chunk> | undefined> {
    let part = await this.#next();
    if (part === undefined) return undefined;
    return new ReadableStream<Chunk>(
      {
        pull: async (controller) => {
          for (;;) {
            const chunk = part && (await this.#read(part));
            if (chunk !== undefined) {
              this.#at += chunk.byteLength;
              this.#tried.clear();
              if (part) this.sources.add(part.node.name);
              controller.enqueue(chunk);
              return;
            }
            if (this.#at === this.#end) return controller.close();
            if (this.#isCancelled) return;
            part = await this.#next();
            if (part === undefined) throw this.#broken("every node has lost it");
            if (this.#isCancelled) return stop(part);
          }
        },
        cancel: () => {
          this.#isCancelled = true;
          if (part) stop(part);
        },
      },
      { highWaterMark: 0 },
    );
  }

  /** The next node that gives the rest; `undefined` when none has it, and all have said so. */
  async #next(): Promise<Part | undefined> {
    for (const node of this.#nodes) {
      if (this.#tried.has(node.name)) continue;
      try {
        const part = await this.#ask(node);
        if (part) return part;
        this.#tried.set(node.name, undefined);
      } catch (error) {
        this.#tried.set(node.name, error instanceof Error ? error : new Error(String(error)));
      }
    }
    const failures = [...this.#tried].filter(([, error]) => error !== undefined);
    if (failures.length === 0) return undefined;
    throw this.#broken(failures.map(([name, error]) => `${name}: ${error?.message}`).join("; "));
  }

  async #ask(node: NodeState): Promise<Part | undefined> {
    const patience = new Patience();
    const isPart = this.#at > 0 || this.#end < this.#size;
    const response = await this.#others.fetch(node, blobPath(this.#locator), {
      method: "GET",
      headers: isPart ? { range: `bytes=${this.#at}-${this.#end - 1}` } : {},
      timeoutMs: headMs(node),
      signal: patience.signal,
    });
    const { status, body } = response;
    const total =
      status === 206
        ? /\/(\d+)$/.exec(response.headers.get("content-range") ?? "")?.[1]
        : response.headers.get("content-length");
    if (status === (isPart ? 206 : 200) && Number(total ?? -1) === this.#size) {
      return { node, reader: (body ?? nothing()).getReader(), patience };
    }
    patience.end(new Error("not what was asked for"));
    if (status >= 500) throw new Error(`it answered ${status}`);
    return undefined;
  }

  /** The next bytes; `undefined` where this node gives no more. */
  async #read(part: Part): Promise<Chunk | undefined> {
    const { node, reader, patience } = part;
    let failure = new Error("it ended too early");
    try {
      for (;;) {
        patience.expect(IDLE_MS, "it has sent nothing");
        const { done, value } = await reader.read();
        if (done || value === undefined) break;
        if (this.#at + value.byteLength > this.#end) throw new Error("it sent too much");
        if (value.byteLength > 0) return value;
      }
      if (this.#at === this.#end) return undefined;
    } catch (error) {
      failure = error instanceof Error ? error : new Error(String(error));
    } finally {
      patience.rest();
    }
    stop(part);
    if (this.#isCancelled) return undefined;
    this.#tried.set(node.name, failure);
    this.#log.warn("a node broke off a blob that was read through; another one goes on", {
      node: node.name,
      locator: this.#locator,
      at: this.#at,
      error: failure.message,
    });
    return undefined;
  }

  #broken(reason: string): BlobStoreUnavailable {
    return new BlobStoreUnavailable(
      `no node that can be reached has the blob ${this.#locator} (${reason})`,
    );
  }
}

function stop({ patience }: Part): void {
  patience.end(new Error("the reader has gone"));
}

function nothing(): ReadableStream<Chunk> {
  return new ReadableStream({ start: (controller) => controller.close() });
}
