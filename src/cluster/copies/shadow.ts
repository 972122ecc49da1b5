/** One node's part of an upload under way: the same bytes in an upload of its own, by a request that streams. */
import type { NodeState } from "../node.ts";
import { Patience } from "./patience.ts";

export type Chunk = Uint8Array<ArrayBuffer>;

/** What the node says it holds when the request has ended. */
export interface ShadowState {
  /** Bytes. */
  readonly size: number;
}

export interface ShadowOptions {
  readonly node: NodeState;
  /** Sends the body; resolves to what the node holds then. Throws for a refusal. */
  readonly send: (body: ReadableStream<Chunk>, signal: AbortSignal) => Promise<ShadowState>;
  /** Room in the queue has come, or the node is lost. */
  readonly onChange: () => void;
}

/** Bytes that may wait for the node. */
const QUEUE = 4 << 20;
/** How long it may take nothing while bytes wait, and to answer when it has them all, in milliseconds. */
const STALL_MS = 5000;
const ANSWER_MS = 30_000;

export class Shadow {
  readonly node: NodeState;
  readonly #options: ShadowOptions;
  readonly #patience = new Patience();
  #queue: Chunk[] = [];
  #queued = 0;
  #hasEnded = false;
  #arrival: PromiseWithResolvers<void> | undefined;
  #answer: Promise<ShadowState | undefined> | undefined;
  #failure: Error | undefined;
  /** Milliseconds for which this node alone held the upload, though it was not needed. */
  held = 0;

  constructor(options: ShadowOptions) {
    this.node = options.node;
    this.#options = options;
  }

  /** Why it holds nothing of use. */
  get failure(): Error | undefined {
    return this.#failure;
  }

  get isFull(): boolean {
    return this.#queued >= QUEUE;
  }

  /** Whether it could take more at once. */
  get isIdle(): boolean {
    return this.#queued === 0;
  }

  /** Whether it has been sent anything by this holder. */
  get hasBegun(): boolean {
    return this.#answer !== undefined;
  }

  /** Bytes that nobody changes any more. */
  push(chunk: Chunk): void {
    if (this.#failure) return;
    if (this.#queued === 0) this.#expectProgress();
    this.#queue.push(chunk);
    this.#queued += chunk.byteLength;
    this.#answer ??= this.#send();
    this.#arrival?.resolve();
  }

  /** No more bytes come. Resolves to what the node holds durably; `undefined` where it is lost. Never rejects. */
  async end(): Promise<ShadowState | undefined> {
    this.#hasEnded = true;
    this.#arrival?.resolve();
    return await this.#answer;
  }

  drop(reason: Error): void {
    if (this.#failure) return;
    this.#failure = reason;
    this.#queue = [];
    this.#queued = 0;
    this.#patience.end(reason);
    this.#arrival?.resolve();
    this.#options.onChange();
  }

  async #send(): Promise<ShadowState | undefined> {
    try {
      const state = await this.#options.send(this.#body(), this.#patience.signal);
      if (!this.#hasEnded || this.#queued > 0) throw new Error("it answered before it had all");
      this.#patience.rest();
      return this.#failure ? undefined : state;
    } catch (error) {
      this.drop(error instanceof Error ? error : new Error(String(error)));
      return undefined;
    }
  }

  #body(): ReadableStream<Chunk> {
    return new ReadableStream<Chunk>(
      {
        pull: async (controller) => {
          while (this.#queue.length === 0 && !this.#hasEnded && !this.#failure) {
            this.#patience.rest();
            this.#arrival = Promise.withResolvers();
            await this.#arrival.promise;
          }
          if (this.#failure) return controller.error(this.#failure);
          const chunk = this.#queue.shift();
          if (chunk === undefined) {
            this.#patience.expect(ANSWER_MS, "it has not answered");
            return controller.close();
          }
          this.#queued -= chunk.byteLength;
          this.#expectProgress();
          controller.enqueue(chunk);
          this.#options.onChange();
        },
        cancel: () => this.#arrival?.resolve(),
      },
      { highWaterMark: 0 },
    );
  }

  #expectProgress(): void {
    this.#patience.expect(STALL_MS, "it has taken nothing");
  }
}
