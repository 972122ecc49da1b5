/** An upload that streams to the own disk and, at the same time, to other nodes. */
import type { PlacedStore, PlacedUpload } from "../../blobs/placed.ts";
import {
  DigestMismatch,
  type BlobUpload,
  type Locator,
  type StoredBlob,
  type UploadProgress,
} from "../../blobs/port.ts";
import type { Algorithm, Digest } from "../../oci/digest.ts";
import type { NodeState } from "../node.ts";
import { KeepUp } from "./keep-up.ts";
import type { Pushes } from "./pushes.ts";
import { Shadow, type Chunk } from "./shadow.ts";
import { ShadowCalls } from "./shadow-calls.ts";
import { sendBody } from "./send.ts";
import { spread, type Spread } from "./spread.ts";

/** Once enough nodes have what a holder sent, the others have so many milliseconds more. */
const GRACE_MS = 500;

export interface CopiedUploadOptions {
  readonly id: string;
  readonly algorithm: Algorithm;
  readonly local: PlacedStore;
  /** Held by this process. */
  readonly own: PlacedUpload;
  readonly pushes: Pushes;
}

export class CopiedUpload implements BlobUpload {
  readonly #options: CopiedUploadOptions;
  readonly #own: PlacedUpload;
  readonly #key: string;
  /** How many of the shadows must keep up. */
  readonly #wanted: number;
  readonly #calls: ShadowCalls;
  readonly #shadows: readonly Shadow[];
  readonly #keepUp: KeepUp;
  #hasEnded = false;

  constructor(options: CopiedUploadOptions) {
    const { id, algorithm, own, pushes } = options;
    this.#options = options;
    this.#own = own;
    this.#calls = new ShadowCalls(pushes.others, id);
    // All holders find the same nodes, whichever process of this node they are in.
    this.#key = pushes.others.keyFor(id);
    const { first, wanted } = pushes.others.toWrite(this.#key);
    this.#wanted = wanted;
    const offset = own.size;
    this.#shadows = first.map(
      (node) =>
        new Shadow({
          node,
          send: (body, signal) => this.#calls.append(node, { offset, algorithm, body, signal }),
          onChange: () => this.#keepUp.changed(),
        }),
    );
    this.#keepUp = new KeepUp(this.#shadows, wanted);
  }

  get size(): number {
    return this.#own.size;
  }

  async write(chunk: Chunk): Promise<void> {
    if (this.#hasEnded) throw new Error(`upload ${this.#options.id} has ended`);
    const alive = this.#shadows.filter(({ failure }) => failure === undefined);
    if (alive.length > 0 && chunk.byteLength > 0) {
      // The own upload takes the buffer away.
      const copy = chunk.slice();
      for (const shadow of alive) shadow.push(copy);
    }
    try {
      await this.#own.write(chunk);
    } catch (error) {
      // What is kept here is less than they were sent.
      this.#drop("the own disk has failed");
      throw error;
    }
    await this.#keepUp.room();
  }

  async suspend(note?: (progress: UploadProgress) => Promise<void>): Promise<UploadProgress> {
    this.#end();
    const ended = this.#shadows.map(async (shadow) => (await shadow.end()) !== undefined);
    try {
      // Before the next holder can come, which goes on with what they have by then.
      return await this.#own.suspend(async (progress) => {
        await enough(ended, this.#wanted);
        await note?.(progress);
      });
    } finally {
      this.#drop("it was slower than the others");
    }
  }

  async commit(digest: Digest, proven?: UploadProgress): Promise<StoredBlob> {
    this.#end();
    const { pushes } = this.#options;
    const { size } = this.#own;
    const locator = await this.#newLocator(digest);
    const push = pushes.begin();
    const nodes = this.#alive().map(({ node }) => node);
    const shadows = spread({ first: nodes, further: [], wanted: this.#wanted }, (node) =>
      this.#commitShadow(node, locator, size, push.signal),
    );
    let stored: StoredBlob;
    try {
      stored = await this.#own.commitAs(locator, proven);
    } catch (error) {
      this.#drop("the own upload has failed");
      await pushes.giveUp(push, locator, await shadows);
      if (error instanceof DigestMismatch) await this.#calls.discard();
      throw error;
    }
    const outcome = await this.#enough(stored, await shadows, push.signal);
    if (outcome.isEnough) {
      pushes.goOn(push, outcome);
      return stored;
    }
    this.#drop("the upload has failed");
    await pushes.giveUp(push, locator, outcome);
    await this.#calls.discard();
    throw pushes.tooFew(outcome);
  }

  async abort(): Promise<void> {
    this.#end();
    const mayExist = this.#own.size > 0 || this.#shadows.some(({ hasBegun }) => hasBegun);
    this.#drop("the upload was aborted");
    await this.#own.abort();
    if (mayExist) await this.#calls.discard();
  }

  /** What came of the shadows, and of whole copies where these are too few. */
  async #enough(
    { locator, size }: StoredBlob,
    first: Spread,
    signal: AbortSignal,
  ): Promise<Spread> {
    if (first.isEnough) return first;
    const { local, pushes } = this.#options;
    const further = pushes.others.toRead(this.#key).filter((node) => !first.held.includes(node));
    const wanted = this.#wanted - first.held.length;
    const second = await spread(
      { first: further.slice(0, wanted), further: further.slice(wanted), wanted },
      (node) => sendBody(pushes.others, node, locator, () => local.open(locator, size), signal),
    );
    return {
      isEnough: second.isEnough,
      asked: [...new Set([...first.asked, ...second.asked])],
      held: [...first.held, ...second.held],
      failures: second.failures,
      settled: async () => {
        await Promise.all([first.settled(), second.settled()]);
      },
    };
  }

  async #commitShadow(
    node: NodeState,
    locator: Locator,
    size: number,
    signal: AbortSignal,
  ): Promise<void> {
    const shadow = this.#shadows.find((candidate) => candidate.node === node);
    await shadow?.end();
    if (shadow?.failure) throw shadow.failure;
    await this.#calls.commit(node, locator, size, signal);
  }

  /** A session that is used again must not have the locator of a blob that it has made before. */
  async #newLocator(digest: Digest): Promise<Locator> {
    const { local } = this.#options;
    for (;;) {
      const locator = local.newLocator(digest, this.#key);
      // A disk that cannot tell will fail the commit as well.
      const size = await local.stat(locator).catch(() => undefined);
      if (size === undefined) return locator;
    }
  }

  #alive(): Shadow[] {
    return this.#shadows.filter(({ failure }) => failure === undefined);
  }

  #end(): void {
    if (this.#hasEnded) throw new Error(`upload ${this.#options.id} has ended`);
    this.#hasEnded = true;
  }

  /** Ends the requests that are still under way. */
  #drop(reason: string): void {
    for (const shadow of this.#shadows) shadow.drop(new Error(reason));
  }
}

/** Resolves when all are done, or a little after `wanted` have come true. */
async function enough(tasks: readonly Promise<boolean>[], wanted: number): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  let timer: ReturnType<typeof setTimeout> | undefined;
  let done = 0;
  const count = (isDone: boolean): void => {
    if (isDone) done++;
    if (done >= wanted) timer ??= setTimeout(resolve, GRACE_MS);
  };
  count(false);
  await Promise.race([promise, Promise.all(tasks.map(async (task) => count(await task)))]);
  clearTimeout(timer);
}
