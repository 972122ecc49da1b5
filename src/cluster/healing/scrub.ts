/** Reading every copy of this store again, slowly, and replacing those whose bytes have changed. */
import fs from "node:fs";
import type { Clock } from "../../base/clock.ts";
import { systemClock } from "../../base/clock.ts";
import type { Logger } from "../../base/log.ts";
import { waited } from "../../base/waited.ts";
import { placeKeyOf, type PlacedStore } from "../../blobs/placed.ts";
import { BlobStoreUnavailable, type ListedBlob, type Locator } from "../../blobs/port.ts";
import { StoreUnavailable, type MetaStore } from "../../meta/port.ts";
import { algorithmOf, makeDigest, type Digest } from "../../oci/digest.ts";
import { Others } from "../copies/others.ts";
import type { Nodes } from "../node.ts";
import type { Peers } from "../peer/port.ts";
import { asking } from "./ask.ts";
import { isWanted } from "./blob.ts";
import { Pace } from "./pace.ts";

export interface ScrubOptions {
  readonly meta: MetaStore;
  /** This node's own store. */
  readonly blobs: PlacedStore;
  readonly nodes: Nodes;
  readonly peers: Peers;
  /** Takes a copy's file out of the store and keeps it for whoever wants to know what became of it. */
  readonly setAside: (locator: Locator) => Promise<void>;
  /** A healer's. */
  readonly want: (locator: Locator, size: number) => void;
  /** File that keeps how far it has come. */
  readonly positionFile: string;
  /** Most that is read; default 20 MB. */
  readonly bytesPerSecond?: number;
  /** Least between the beginnings of two passes; default a day. */
  readonly everyMs?: number;
  readonly log: Logger;
  readonly clock?: Clock;
}

interface Position {
  /** When the pass began, milliseconds since the epoch. */
  readonly began: number;
  /** The last copy that was read; absent when the pass has come to its end. */
  readonly after?: string;
}

const BYTES_PER_SECOND = 20_000_000;
const EVERY_MS = 86_400_000;
const NOTE_MS = 10_000;
/** So long it waits where the disk or the metadata is away, and at most so long between looks at the clock. */
const RETRY_MS = 10_000;

/** Goes on where the process before left off, until it is disposed of. */
export function startScrub(options: ScrubOptions): AsyncDisposable {
  const ending = new AbortController();
  const running = new Scrub(options, ending.signal).run();
  return {
    async [Symbol.asyncDispose]() {
      ending.abort();
      await running;
    },
  };
}

class Scrub {
  readonly #options: ScrubOptions;
  readonly #signal: AbortSignal;
  readonly #clock: Clock;
  readonly #others: Others;
  readonly #pace: Pace;
  #noted = -Infinity;

  constructor(options: ScrubOptions, signal: AbortSignal) {
    this.#options = options;
    this.#signal = signal;
    this.#clock = options.clock ?? systemClock;
    this.#others = new Others({ nodes: options.nodes, peers: options.peers, copies: 1 });
    this.#pace = new Pace(options.bytesPerSecond ?? BYTES_PER_SECOND);
  }

  async run(): Promise<void> {
    const { everyMs = EVERY_MS, log } = this.#options;
    while (!this.#signal.aborted) {
      try {
        const position = this.#read();
        const now = this.#clock.now();
        const rest = position === undefined ? 0 : position.began + everyMs - now;
        if (position?.after !== undefined) await this.#pass(position);
        // A rest longer than any is that of a clock which was put back.
        else if (rest <= 0 || rest > everyMs) await this.#pass({ began: now, after: "" });
        else await waited(Math.min(rest, RETRY_MS), this.#signal);
      } catch (error) {
        if (this.#signal.aborted) return;
        const isExpected =
          error instanceof BlobStoreUnavailable || error instanceof StoreUnavailable;
        if (!isExpected) log.error("the scrub of stored copies failed for now", { error });
        await waited(RETRY_MS, this.#signal);
      }
    }
  }

  async #pass({ began, after }: Position): Promise<void> {
    for await (const blob of this.#options.blobs.list(after as Locator)) {
      // Others have no copies: they are read when they are served.
      if (placeKeyOf(blob.locator) !== blob.locator) await this.#check(blob);
      if (this.#signal.aborted) return;
      if (performance.now() - this.#noted > NOTE_MS) this.#note({ began, after: blob.locator });
    }
    this.#note({ began });
  }

  async #check(blob: ListedBlob): Promise<void> {
    const { meta, blobs, setAside, want, log } = this.#options;
    const { locator, size } = blob;
    const actual = await this.#digestOf(blob);
    if (actual === undefined || actual === blob.digest || this.#signal.aborted) return;
    if (!(await isWanted(meta, blobs, blob))) return;
    const ask = asking(this.#others, this.#signal);
    const live = this.#others.all().filter(({ isLive }) => isLive);
    const answers = await Promise.all(live.map((node) => ask(node, [blob])));
    if (!answers.some((held) => held.has(locator))) {
      log.error("a stored copy is rotten, and no other node that can be reached has one", {
        locator,
        actual,
      });
      return;
    }
    await setAside(locator);
    log.error("a stored copy is rotten: it was set aside and is fetched anew", { locator, actual });
    want(locator, size);
  }

  /** `undefined` where it has gone meanwhile; `unreadable` where the disk does not give it back. */
  async #digestOf({
    locator,
    size,
    digest,
  }: ListedBlob): Promise<Digest | "unreadable" | undefined> {
    const { blobs } = this.#options;
    const body = await blobs.open(locator, size);
    if (body === undefined) return undefined;
    const algorithm = algorithmOf(digest);
    const hasher = new Bun.CryptoHasher(algorithm);
    try {
      for await (const chunk of body instanceof Blob ? body.stream() : body) {
        hasher.update(chunk);
        await this.#pace.took(chunk.byteLength, this.#signal);
        if (this.#signal.aborted) return undefined;
      }
    } catch (error) {
      // Anything else, as too many open files, says nothing of this copy.
      const isDamage = error instanceof Error && "code" in error && error.code === "EIO";
      return isDamage && (await blobs.stat(locator)) === size ? "unreadable" : undefined;
    }
    const actual = makeDigest(algorithm, hasher.digest("hex"));
    // What somebody took away or replaced during the reading says nothing.
    return (await blobs.stat(locator)) === size ? actual : undefined;
  }

  #read(): Position | undefined {
    try {
      return JSON.parse(fs.readFileSync(this.#options.positionFile, "utf8")) as Position;
    } catch {
      // None yet, or torn by a crash: all is read from the beginning.
      return undefined;
    }
  }

  #note(position: Position): void {
    this.#noted = performance.now();
    fs.writeFileSync(this.#options.positionFile, JSON.stringify(position));
  }
}
