/** Bodies of requests. */
import { OciError } from "../oci/errors.ts";
import type { Content } from "../registry/upload.ts";

/** The client went away, or stalled, in the middle of a body. */
export class BodyBroken extends Error {
  override readonly name = "BodyBroken";
}

/** A request's body, and how much of it has come. */
export class RequestBody implements Content {
  readonly length: number | undefined;
  readonly #request: Request;
  #received = 0;
  #moved = (_complete: boolean): void => {};

  constructor(request: Request) {
    this.#request = request;
    this.length = lengthOf(request);
  }

  /** Bytes so far. */
  get received(): number {
    return this.#received;
  }

  /** Has `moved` called whenever bytes come, and when they all have. */
  watch(moved: (complete: boolean) => void): void {
    this.#moved = moved;
  }

  async *stream(): AsyncGenerator<Uint8Array<ArrayBuffer>> {
    const { body } = this.#request;
    if (this.length === 0 || body === null) return;
    try {
      for await (const chunk of body) {
        this.#received += chunk.length;
        this.#moved(false);
        yield chunk;
      }
    } catch (error) {
      throw new BodyBroken("the request's body broke off", { cause: error });
    }
    this.#requireWhole();
  }

  /** All at once, which spares small bodies the making of a stream. */
  async bytes(): Promise<Uint8Array<ArrayBuffer>> {
    if (this.length === 0) return new Uint8Array();
    let bytes: Uint8Array<ArrayBuffer>;
    try {
      bytes = new Uint8Array(await this.#request.arrayBuffer());
    } catch (error) {
      throw new BodyBroken("the request's body broke off", { cause: error });
    }
    this.#received = bytes.length;
    this.#requireWhole();
    return bytes;
  }

  #requireWhole(): void {
    const short = this.length !== undefined && this.#received < this.length;
    if (this.#request.signal.aborted || short) {
      throw new BodyBroken(`the request's body broke off after ${this.#received} bytes`);
    }
    this.#moved(true);
  }
}

/**
 * Bytes announced; 0 for no body, `undefined` for a chunked one. Told from the headers, since asking for
 * `request.body` makes a stream.
 */
function lengthOf({ headers }: Request): number | undefined {
  const length = headers.get("content-length");
  if (length !== null) return Number(length);
  return headers.has("transfer-encoding") ? undefined : 0;
}

/** Bodies up to this size are read at once; of longer ones it is seen how fast they come. */
const AT_ONCE_BYTES = 65_536;

/** The whole body, which may have at most `max` bytes. Throws SIZE_INVALID with status 413 as soon as it has more. */
export async function readBody(
  content: Content,
  max: number,
  field: string,
): Promise<Uint8Array<ArrayBuffer>> {
  if ((content.length ?? 0) > max) throw tooLarge(max, field);
  if (content.length !== undefined && content.length <= AT_ONCE_BYTES) return content.bytes();
  const parts: Uint8Array<ArrayBuffer>[] = [];
  let size = 0;
  for await (const chunk of content.stream()) {
    size += chunk.length;
    if (size > max) throw tooLarge(max, field);
    parts.push(chunk);
  }
  const [only, ...more] = parts;
  return only !== undefined && more.length === 0 ? only : new Uint8Array(Buffer.concat(parts));
}

function tooLarge(max: number, field: string): OciError {
  return new OciError("SIZE_INVALID", `the body is larger than ${max} bytes (${field})`, {
    status: 413,
  });
}
