/** Bodies that go on where a broken connection stopped, and never end early as if they were whole. */
import { isAbsence, refusalOf, S3Failure } from "./errors.ts";
import type { Transport } from "./transport.ts";

export type Body = ReadableStream<Uint8Array<ArrayBuffer>>;

interface Part {
  readonly reader: {
    read(): Promise<{
      readonly done: boolean;
      readonly value?: Uint8Array<ArrayBuffer> | undefined;
    }>;
  };
  readonly abort: () => void;
}

/** Times that a body is taken up again without a byte in between. */
const RESUMES_MAX = 4;

export async function openBody(
  transport: Transport,
  key: string,
  size: number,
  range: { readonly start: number; readonly end: number } | undefined,
): Promise<Body | undefined> {
  const [start, end] = range ? [range.start, range.end + 1] : [0, size];
  const first = await openPart(transport, key, size, range && { start, end });
  return first && resuming(transport, key, size, { start, end }, first);
}

/** `undefined` when it is the object that is absent. */
export async function absent(
  transport: Transport,
  key: string,
  response: Response,
): Promise<undefined> {
  const text = await response.text();
  if (isAbsence(text)) return undefined;
  throw refusalOf(transport.where(`GET ${key}`), 404, response.headers, text);
}

/** One GET from `start` to `end` (exclusive); `undefined` when the object is absent or of another size. */
async function openPart(
  transport: Transport,
  key: string,
  size: number,
  span: { readonly start: number; readonly end: number } | undefined,
): Promise<Part | undefined> {
  const headers = span && { range: `bytes=${span.start}-${span.end - 1}` };
  return transport.send(
    { method: "GET", key, ...(headers && { headers }), expected: [200, 206, 404, 416] },
    async (response, abort): Promise<Part | undefined> => {
      if (response.status === 404) return absent(transport, key, response);
      const total =
        response.status === 206
          ? /\/(\d+)$/.exec(response.headers.get("content-range") ?? "")?.[1]
          : response.headers.get("content-length");
      const isRight = response.status === (span ? 206 : 200) && Number(total ?? -1) === size;
      const body: Body = response.body ?? empty();
      if (isRight) return { reader: body.getReader(), abort };
      abort();
      if (response.status === 200 && span) {
        throw new S3Failure(`the store ignores Range in GET ${key}`, "Malformed", { status: 200 });
      }
      return undefined;
    },
  );
}

function resuming(
  transport: Transport,
  key: string,
  size: number,
  { start, end }: { readonly start: number; readonly end: number },
  first: Part,
): Body {
  let at = start;
  let part = first;
  let resumes = 0;
  const next = async (): Promise<Uint8Array<ArrayBuffer> | undefined> => {
    for (;;) {
      const found = await read(part, transport.patience.idle);
      if (found instanceof Uint8Array) return found;
      if (at === end) return undefined;
      part.abort();
      if (resumes++ >= RESUMES_MAX) {
        throw new S3Failure(`GET ${key} broke off at byte ${at} of ${size}`, "Network", {
          cause: found,
        });
      }
      const again = await openPart(transport, key, size, { start: at, end });
      if (again === undefined) throw new S3Failure(`${key} went away while it was read`, "Gone");
      part = again;
    }
  };
  return new ReadableStream<Uint8Array<ArrayBuffer>>(
    {
      async pull(controller) {
        const bytes = await next();
        if (bytes === undefined) return controller.close();
        resumes = 0;
        at += bytes.byteLength;
        if (at > end) throw new S3Failure(`GET ${key} gave more than was asked for`, "Malformed");
        controller.enqueue(bytes);
      },
      cancel() {
        part.abort();
      },
    },
    { highWaterMark: 0 },
  );
}

/** The next bytes; else why there are none: an error, or `undefined` for the end. */
async function read(
  part: Part,
  idle: number,
): Promise<Uint8Array<ArrayBuffer> | Error | undefined> {
  const timer = setTimeout(part.abort, idle);
  try {
    for (;;) {
      const { done, value } = await part.reader.read();
      if (done) return undefined;
      if (value && value.byteLength > 0) return value;
    }
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  } finally {
    clearTimeout(timer);
  }
}

function empty(): Body {
  return new ReadableStream({ start: (controller) => controller.close() });
}
