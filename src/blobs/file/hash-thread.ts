/** The event loop's side of the hash thread. */
import type { Algorithm } from "../../oci/digest.ts";
import { BlobStoreUnavailable } from "../port.ts";
import type { FromHashThread, ToHashThread } from "./hash-messages.ts";
import { HashStream } from "./hash-stream.ts";

/** An idle thread is ended after this many milliseconds, and its memory given back. */
const IDLE_MS = 30_000;

export interface StreamStart {
  /** Open for reading and writing until the stream has ended. */
  readonly fd: number;
  /** Bytes the file holds. */
  readonly size: number;
  readonly algorithm: Algorithm;
  /** Names the exact bytes of the file, to find the running hash of an earlier holder. */
  readonly key: string;
}

/** One thread for all uploads of a store, started when the first one needs it, and again should it fail. */
export class HashThread {
  #thread: Thread | undefined;
  #idle: ReturnType<typeof setTimeout> | undefined;

  begin(start: StreamStart): HashStream {
    clearTimeout(this.#idle);
    if (!this.#thread || this.#thread.hasEnded) this.#thread = new Thread(() => this.#endLater());
    return this.#thread.begin(start);
  }

  /** Ends the thread; streams still open fail. Resolves when it touches no descriptor any more. */
  async close(): Promise<void> {
    clearTimeout(this.#idle);
    const thread = this.#thread;
    this.#thread = undefined;
    await thread?.stop();
  }

  #endLater(): void {
    clearTimeout(this.#idle);
    this.#idle = setTimeout(() => {
      if (this.#thread?.isIdle) void this.close();
    }, IDLE_MS);
    this.#idle.unref();
  }
}

class Thread {
  readonly #worker = new Worker(new URL("./hash-worker.ts", import.meta.url), { smol: true });
  readonly #streams = new Map<number, HashStream>();
  readonly #onIdle: () => void;
  readonly #closed = Promise.withResolvers<void>();
  /** Why it has ended, or is about to. */
  #end: string | undefined;
  #next = 0;

  constructor(onIdle: () => void) {
    this.#onIdle = onIdle;
    this.#worker.unref();
    this.#worker.addEventListener("message", (event: MessageEvent<FromHashThread>) => {
      this.#receive(event.data);
    });
    this.#worker.addEventListener("error", (event: ErrorEvent) => this.#terminate(event.message));
    this.#worker.addEventListener("close", () => this.#lose());
  }

  get hasEnded(): boolean {
    return this.#end !== undefined;
  }

  get isIdle(): boolean {
    return this.#streams.size === 0;
  }

  begin(start: StreamStart): HashStream {
    const id = this.#next++;
    const stream = new HashStream(start.size, {
      write: (chunks, flush) => {
        this.#post({ type: "write", stream: id, chunks, flush }, buffersOf(chunks));
      },
      digest: (algorithm) => this.#post({ type: "digest", stream: id, algorithm }),
      end: (keep) => {
        this.#streams.delete(id);
        this.#post({ type: "end", stream: id, keep });
        if (this.isIdle) this.#onIdle();
      },
    });
    this.#streams.set(id, stream);
    this.#post({ type: "begin", stream: id, ...start });
    return stream;
  }

  /** Ends it once its writes under way have ended. */
  stop(): Promise<void> {
    this.#end ??= "the store was closed";
    this.#post({ type: "stop" });
    return this.#closed.promise;
  }

  #terminate(error: string | undefined): void {
    this.#end ??= `the hash thread ended: ${error}`;
    this.#worker.terminate();
  }

  #lose(): void {
    this.#end ??= "the hash thread ended";
    for (const stream of this.#streams.values()) stream.onLost(new BlobStoreUnavailable(this.#end));
    this.#closed.resolve();
  }

  #post(message: ToHashThread, transfer: ArrayBuffer[] = []): void {
    this.#worker.postMessage(message, transfer);
  }

  #receive(message: FromHashThread): void {
    if (message.type === "stopped") return this.#terminate(message.error);
    const stream = this.#streams.get(message.stream);
    switch (message.type) {
      case "written":
        stream?.onWritten(message.size);
        break;
      case "digest":
        stream?.onDigest(message.hex);
        break;
      case "failed":
        stream?.onFailure(
          Object.assign(new Error(message.message), { code: message.code }),
          message.size,
        );
        break;
    }
  }
}

function buffersOf(chunks: readonly Uint8Array<ArrayBuffer>[]): ArrayBuffer[] {
  return chunks.map((chunk) => chunk.buffer);
}
