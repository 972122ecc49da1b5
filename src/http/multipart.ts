/** Several ranges in one answer: RFC 9110 §14.6. Partial pulls of zstd:chunked layers ask for them. */
import { streamFrom } from "../base/streams.ts";
import { randomHex } from "../base/clock.ts";
import type { ByteSpan } from "../oci/range.ts";
import type { PulledBlob } from "../registry/pull.ts";

export interface Multipart {
  readonly contentType: string;
  stream(): ReadableStream<Uint8Array<ArrayBuffer>>;
}

const CRLF = "\r\n";
const ENCODER = new TextEncoder();

export function multipart(
  spans: readonly ByteSpan[],
  blob: PulledBlob,
  mediaType: string,
): Multipart {
  // Letters and digits only: some clients read the boundary with a narrow pattern.
  const boundary = randomHex(16);
  const heads = spans.map(({ start, end }, i) =>
    [
      `${i === 0 ? "" : CRLF}--${boundary}`,
      `Content-Type: ${mediaType}`,
      `Content-Range: bytes ${start}-${end}/${blob.size}`,
      "",
      "",
    ].join(CRLF),
  );
  const tail = `${CRLF}--${boundary}--${CRLF}`;

  async function* parts(): AsyncGenerator<Uint8Array<ArrayBuffer>> {
    for (const [i, span] of spans.entries()) {
      yield ENCODER.encode(heads[i]);
      const body = await blob.body(span);
      if (body instanceof Uint8Array) yield body;
      else yield* body instanceof Blob ? body.stream() : body;
    }
    yield ENCODER.encode(tail);
  }
  return {
    contentType: `multipart/byteranges; boundary=${boundary}`,
    stream: () => streamFrom(parts()),
  };
}

/** Pulls one chunk at a time: a slow client holds back the reading. */
