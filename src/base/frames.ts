/** Length-prefixed messages over a byte stream: a 4-byte little-endian length, then that many bytes. */

const HEADER_BYTES = 4;

/** Thrown for a length beyond the limit: the stream is not what it should be and cannot be resumed. */
export class FrameError extends Error {
  override readonly name = "FrameError";
}

/** A frame around UTF-8 `text`. */
export function encodeFrame(text: string): Buffer {
  const length = Buffer.byteLength(text);
  const frame = Buffer.allocUnsafe(HEADER_BYTES + length);
  frame.writeUInt32LE(length, 0);
  frame.write(text, HEADER_BYTES);
  return frame;
}

/** Cuts a stream of chunks of any size back into frames. */
export class FrameReader {
  readonly #frameMax: number;
  #chunks: Buffer[] = [];
  #bytes = 0;
  #needed = HEADER_BYTES;

  /** `frameMax` in bytes. */
  constructor(frameMax: number) {
    this.#frameMax = frameMax;
  }

  /** The texts that `chunk` completed, in order. Keeps a copy of what is left over, never `chunk` itself. */
  push(chunk: Uint8Array): string[] {
    this.#bytes += chunk.byteLength;
    if (this.#bytes < this.#needed) {
      this.#chunks.push(Buffer.from(chunk));
      return [];
    }
    const all =
      this.#chunks.length === 0 ? asBuffer(chunk) : Buffer.concat([...this.#chunks, chunk]);
    const texts: string[] = [];
    let at = 0;
    this.#needed = HEADER_BYTES;
    while (all.length - at >= HEADER_BYTES) {
      const length = all.readUInt32LE(at);
      if (length > this.#frameMax)
        throw new FrameError(`a frame of ${length} bytes is larger than ${this.#frameMax}`);
      const end = at + HEADER_BYTES + length;
      if (end > all.length) {
        this.#needed = end - at;
        break;
      }
      texts.push(all.toString("utf8", at + HEADER_BYTES, end));
      at = end;
    }
    this.#bytes = all.length - at;
    this.#chunks = this.#bytes === 0 ? [] : [Buffer.from(all.subarray(at))];
    return texts;
  }
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** What of a socket the writer needs: `write` takes as many bytes as fit and says how many. */
export interface ByteSink {
  write(bytes: Uint8Array): number;
}

/** Sends frames in order over a socket that may take less than it is given. */
export class FrameWriter {
  readonly #sink: ByteSink;
  #waiting: Uint8Array[] = [];

  constructor(sink: ByteSink) {
    this.#sink = sink;
  }

  send(text: string): void {
    this.#waiting.push(encodeFrame(text));
    if (this.#waiting.length === 1) this.drain();
  }

  /** To be called when the socket takes bytes again. */
  drain(): void {
    let sent = 0;
    for (const frame of this.#waiting) {
      const written = this.#sink.write(frame);
      if (written < frame.byteLength) {
        if (written > 0) this.#waiting[sent] = frame.subarray(written);
        break;
      }
      sent++;
    }
    this.#waiting.splice(0, sent);
  }
}
