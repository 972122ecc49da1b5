/** One upload on its way through the hash thread, with back-pressure. */
import { makeDigest, type Algorithm, type Digest } from "../../oci/digest.ts";

/** How a stream reaches the thread. */
export interface StreamPort {
  /** Transfers the chunks' buffers. With `flush`, nothing that was sent waits for more. */
  write(chunks: readonly Uint8Array<ArrayBuffer>[], flush: boolean): void;
  digest(algorithm: Algorithm): void;
  end(keep: string | undefined): void;
}

/** Bytes that are sent at once, about; fewer wait for company. */
const BATCH = 1 << 20;
/** Bytes on their way before a writer has to wait. */
const WINDOW = 4 << 20;
/** How long bytes of a slow stream wait for company, in milliseconds. */
const LINGER_MS = 50;
/** Chunks smaller than this on average are cheaper copied into one than sent one by one. */
const SMALL_CHUNK = 16 << 10;

export class HashStream {
  readonly #port: StreamPort;
  #batch: Uint8Array<ArrayBuffer>[] = [];
  #batched = 0;
  /** File size when all that was sent is written. */
  #sent: number;
  #written: number;
  /** Runs while bytes may be waiting, here or in the thread. */
  #lingering: ReturnType<typeof setTimeout> | undefined;
  #failure: Error | undefined;
  #lost: Error | undefined;
  #change: PromiseWithResolvers<void> | undefined;
  #digest: PromiseWithResolvers<string> | undefined;

  constructor(size: number, port: StreamPort) {
    this.#port = port;
    this.#sent = size;
    this.#written = size;
  }

  /** Bytes the file holds. */
  get written(): number {
    return this.#written;
  }

  get failure(): Error | undefined {
    return this.#failure;
  }

  /** Takes the chunk's buffer; resolves when another chunk may follow. Throws what the thread met. */
  async write(chunk: Uint8Array<ArrayBuffer>): Promise<void> {
    this.#batch.push(ownWhole(chunk));
    this.#batched += chunk.byteLength;
    if (this.#batched >= BATCH) this.#send(false);
    else if (!this.#failure) this.#linger();
    while (!this.#failure && this.#sent - this.#written >= WINDOW) await this.#changed();
    if (this.#failure) throw this.#failure;
  }

  /** Resolves when the file holds all bytes. */
  async flush(): Promise<void> {
    this.#send(true);
    while (!this.#failure && this.#sent !== this.#written) await this.#changed();
    if (this.#failure) throw this.#failure;
  }

  /** Forgets what was not sent yet, and resolves when the thread has no more to write. */
  async drop(): Promise<void> {
    this.#batch = [];
    this.#batched = 0;
    this.#send(true);
    while (this.#sent !== this.#written) await this.#changed();
  }

  /** Digest of all bytes, after `flush`, or after a failure of those that were kept. */
  async digest(algorithm: Algorithm): Promise<Digest> {
    if (this.#lost) throw this.#lost;
    this.#digest = Promise.withResolvers();
    this.#port.digest(algorithm);
    return makeDigest(algorithm, await this.#digest.promise);
  }

  /** Ends the stream; its running hash is found again under `keep`. Nothing may be under way. */
  end(keep?: string): void {
    this.#port.end(keep);
  }

  onWritten(size: number): void {
    this.#written = size;
    this.#wake();
  }

  onDigest(hex: string): void {
    this.#digest?.resolve(hex);
  }

  /** The thread could not go on; the first `size` bytes of the file are good. */
  onFailure(failure: Error, size: number): void {
    this.#failure ??= failure;
    this.#written = size;
    this.#sent = size;
    this.#batch = [];
    this.#batched = 0;
    clearTimeout(this.#lingering);
    this.#digest?.reject(failure);
    this.#wake();
  }

  /** The thread is gone. */
  onLost(failure: Error): void {
    this.#lost ??= failure;
    this.onFailure(failure, this.#written);
  }

  #send(flush: boolean): void {
    clearTimeout(this.#lingering);
    this.#lingering = undefined;
    if (this.#failure) return;
    const chunks = this.#batch;
    const bytes = this.#batched;
    this.#batch = [];
    this.#batched = 0;
    this.#sent += bytes;
    if (this.#sent === this.#written) return;
    const areSmall = chunks.length > 1 && bytes / chunks.length < SMALL_CHUNK;
    this.#port.write(areSmall ? [joined(chunks, bytes)] : chunks, flush);
    if (!flush) this.#linger();
  }

  /** Sees to it that a stream which pauses has its bytes written. */
  #linger(): void {
    this.#lingering ??= setTimeout(() => {
      this.#lingering = undefined;
      // The thread is behind with whole buffers: what does not fill one is not what anybody waits for.
      if (this.#sent - this.#written > BATCH) this.#linger();
      else this.#send(true);
    }, LINGER_MS);
  }

  #changed(): Promise<void> {
    this.#change ??= Promise.withResolvers();
    return this.#change.promise;
  }

  #wake(): void {
    this.#change?.resolve();
    this.#change = undefined;
  }
}

/** A part of a larger buffer is copied: others may look at the rest, which a transfer would take from them. */
function ownWhole(chunk: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  return chunk.byteLength === chunk.buffer.byteLength ? chunk : new Uint8Array(chunk);
}

function joined(
  chunks: readonly Uint8Array<ArrayBuffer>[],
  bytes: number,
): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(bytes);
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.byteLength;
  }
  return whole;
}
