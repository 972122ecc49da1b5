/** The calls of S3 that the engine makes, each with its retries. Keys are below the prefix. */
import { absent, openBody, type Body } from "./body.ts";
import { refusalOf, S3Failure } from "./errors.ts";
import { Transport, type Call, type S3Options } from "./transport.ts";
import { escapeXml, listOf, parseXml, textOf, type Xml } from "./xml.ts";

export interface ListedObject {
  readonly key: string;
  /** Bytes. */
  readonly size: number;
  /** Milliseconds since the epoch. */
  readonly modified: number;
}

export interface Page {
  readonly objects: readonly ListedObject[];
  /** Prefixes one level down, with `delimited`. */
  readonly prefixes: readonly string[];
  /** Token of the next page, if there is one. */
  readonly next: string | undefined;
}

export interface OpenMultipart {
  readonly key: string;
  readonly uploadId: string;
  /** Milliseconds since the epoch. */
  readonly initiated: number;
}

const OCTETS = { "content-type": "application/octet-stream" };
/** A store may have to copy the parts together before it answers: in bytes a millisecond, and milliseconds at most. */
const GATHERED = 10_000;
const COMPLETE_MAX_MS = 120_000;
/** Bytes of an answer that are read in one go. */
const AT_ONCE = 256 << 10;

export class S3Client {
  readonly #transport: Transport;
  /** Whether the store can list open multipart uploads. */
  readonly listsMultiparts: boolean;

  constructor(options: S3Options, features: { readonly listsMultiparts?: boolean } = {}) {
    this.#transport = new Transport(options);
    this.listsMultiparts = features.listsMultiparts ?? true;
  }

  get transport(): Transport {
    return this.#transport;
  }

  /** Bytes of the object, or `undefined` when it is absent. */
  async head(
    key: string,
    within?: Pick<Call, "operation">,
  ): Promise<{ readonly size: number; readonly headers: Headers } | undefined> {
    const { status, headers } = await this.#transport.send(
      { method: "HEAD", key, expected: [200, 404], ...within },
      (response) => response,
    );
    return status === 404 ? undefined : { size: Number(headers.get("content-length")), headers };
  }

  /** A body of exactly the bytes asked for; `undefined` when the object is absent or of another size. */
  open(
    key: string,
    size: number,
    range?: { readonly start: number; readonly end: number },
  ): Promise<Body | undefined> {
    return openBody(this.#transport, key, size, range);
  }

  /** All bytes; `undefined` when the object is absent or has another `size`. */
  async get(key: string, size?: number): Promise<Uint8Array<ArrayBuffer> | undefined> {
    return this.#transport.send(
      { method: "GET", key, expected: [200, 404] },
      async (response, abort, moved) => {
        if (response.status === 404) return absent(this.#transport, key, response);
        const announced = response.headers.get("content-length");
        if (size !== undefined && announced !== `${size}`) {
          abort();
          return undefined;
        }
        const bytes = await bytesOf(response, moved);
        if (announced === null || Number(announced) === bytes.byteLength) return bytes;
        throw new S3Failure(`the answer to GET ${key} was cut short`, "Network");
      },
    );
  }

  /** False when `ifAbsent` was asked for and there is an object. `sha256`: of the bytes, where known. */
  async put(
    key: string,
    body: Uint8Array<ArrayBuffer>,
    options: { readonly sha256?: string | undefined; readonly ifAbsent?: boolean } = {},
  ): Promise<boolean> {
    const writer = crypto.randomUUID();
    const status = await this.#transport.send(
      {
        method: "PUT",
        key,
        body,
        ...(options.sha256 === undefined ? {} : { sha256: options.sha256 }),
        headers: options.ifAbsent
          ? { ...OCTETS, "if-none-match": "*", "x-amz-meta-writer": writer }
          : OCTETS,
        expected: options.ifAbsent ? [200, 412] : [200],
      },
      drained,
    );
    if (status === 200) return true;
    // The object in the way may be ours, of an attempt whose answer was lost: here, or inside of `fetch`.
    return (await this.head(key))?.headers.get("x-amz-meta-writer") === writer;
  }

  /** Absence is success. */
  async delete(key: string): Promise<void> {
    await this.#transport.send({ method: "DELETE", key, expected: [200, 204, 404] }, drained);
  }

  /** One page of what is below a prefix that is empty or ends with `/`, in no order. */
  async list(
    prefix: string,
    options: { readonly delimited?: boolean; readonly token?: string | undefined } = {},
  ): Promise<Page> {
    const below = this.#transport.prefix;
    const query = {
      "list-type": "2",
      prefix: below + prefix,
      ...(options.delimited ? { delimiter: "/" } : {}),
      ...(options.token === undefined ? {} : { "continuation-token": options.token }),
    };
    const xml = await this.#ask(query, "GET");
    return {
      objects: listOf(xml, "Contents").map((entry) => ({
        key: (textOf(entry, "Key") ?? "").slice(below.length),
        size: Number(textOf(entry, "Size")),
        modified: Date.parse(textOf(entry, "LastModified") ?? ""),
      })),
      prefixes: listOf(xml, "CommonPrefixes").map((entry) =>
        (textOf(entry, "Prefix") ?? "").slice(below.length),
      ),
      next: nextOf(xml),
    };
  }

  /** Everything below a prefix, in no order. */
  async *listAll(prefix: string): AsyncIterable<ListedObject> {
    let token: string | undefined;
    do {
      const page: Page = await this.list(prefix, { token });
      yield* page.objects;
      token = page.next;
    } while (token !== undefined);
  }

  async createMultipart(key: string): Promise<string> {
    const xml = await this.#ask({ uploads: "" }, "POST", key, OCTETS);
    const id = textOf(xml, "UploadId");
    if (id === undefined) {
      throw new S3Failure(`the store began a multipart upload without naming it`, "Malformed");
    }
    return id;
  }

  /** The part's ETag without quotes. A part sent again under its number replaces the one before. */
  async uploadPart(
    key: string,
    uploadId: string,
    part: { readonly number: number; readonly bytes: Uint8Array<ArrayBuffer> },
  ): Promise<string> {
    return this.#transport.send(
      {
        method: "PUT",
        key,
        query: { partNumber: `${part.number}`, uploadId },
        body: part.bytes,
        expected: [200],
      },
      async (response) => {
        await drained(response);
        return (response.headers.get("etag") ?? "").replaceAll('"', "");
      },
    );
  }

  /** Makes the object of exactly these parts. An answer that was lost is found out. */
  async completeMultipart(
    key: string,
    uploadId: string,
    etags: readonly string[],
    size: number,
  ): Promise<void> {
    const parts = etags.map(
      (etag, index) =>
        `<Part><PartNumber>${index + 1}</PartNumber><ETag>"${escapeXml(etag)}"</ETag></Part>`,
    );
    const body = `<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">${parts.join("")}</CompleteMultipartUpload>`;
    const { answer: usual } = this.#transport.patience;
    const answer = Math.min(COMPLETE_MAX_MS, usual + size / GATHERED);
    try {
      await this.#ask(
        { uploadId },
        "POST",
        key,
        { "content-type": "application/xml" },
        { body: new TextEncoder().encode(body), answer },
      );
    } catch (error) {
      if (!(error instanceof S3Failure)) throw error;
      // Whatever was said last, an earlier attempt may have done it. The key is nobody else's.
      if ((await this.head(key, { operation: usual }))?.size !== size) throw error;
    }
  }

  /** Bytes of the parts that a multipart upload has; 0 when it has ended. */
  async multipartSize(key: string, uploadId: string): Promise<number> {
    let size = 0;
    let marker: string | undefined;
    do {
      const after = marker === undefined ? {} : { "part-number-marker": marker };
      const xml = await this.#ask({ uploadId, ...after }, "GET", key).catch((error: unknown) => {
        if (error instanceof S3Failure && error.isLoss) return undefined;
        throw error;
      });
      if (xml === undefined) return 0;
      for (const part of listOf(xml, "Part")) size += Number(textOf(part, "Size"));
      marker = nextOf(xml);
    } while (marker !== undefined);
    return size;
  }

  /** Absence is success. */
  async abortMultipart(key: string, uploadId: string): Promise<void> {
    await this.#transport.send(
      { method: "DELETE", key, query: { uploadId }, expected: [200, 204, 404] },
      drained,
    );
  }

  /** Multipart uploads not yet ended, below a prefix that ends with `/`. */
  async *openMultiparts(prefix: string): AsyncIterable<OpenMultipart> {
    const below = this.#transport.prefix;
    let marker: string | undefined;
    do {
      const after: Record<string, string> = marker === undefined ? {} : { "key-marker": marker };
      const xml: Xml = await this.#ask({ uploads: "", prefix: below + prefix, ...after }, "GET");
      for (const entry of listOf(xml, "Upload")) {
        const key = textOf(entry, "Key") ?? "";
        // Ceph begins a page with the last of the one before.
        if (key === marker) continue;
        yield {
          key: key.slice(below.length),
          uploadId: textOf(entry, "UploadId") ?? "",
          initiated: Date.parse(textOf(entry, "Initiated") ?? ""),
        };
      }
      // Not every store takes an upload-id-marker as well. A key hardly ever has two; a next listing shows the other.
      marker = nextOf(xml);
    } while (marker !== undefined);
  }

  /**
   * A call that is answered in XML. An error inside a 200 is an error; so is a listing that says that it goes on, but
   * not where: half of one must not pass for the whole, since what is not in it would count as lost.
   */
  #ask(
    query: Readonly<Record<string, string>>,
    method: "GET" | "POST",
    key?: string,
    headers: Readonly<Record<string, string>> = {},
    more: { readonly body?: Uint8Array<ArrayBuffer>; readonly answer?: number } = {},
  ): Promise<Xml> {
    return this.#transport.send(
      { method, query, headers, expected: [200], ...(key === undefined ? {} : { key }), ...more },
      async (response, _, moved) => {
        const text = new TextDecoder().decode(await bytesOf(response, moved));
        const where = this.#transport.where(`${method} ${key ?? ""}`);
        if (/<Error[\s>]/.test(text)) throw asFailed(refusalOf(where, 200, response.headers, text));
        const xml = parseXml(text);
        const next = nextOf(xml);
        if (next === "" || (next !== undefined && Object.values(query).includes(next)))
          throw new S3Failure(
            `the store at ${where.endpoint} began a listing and does not say where it goes on`,
            "Malformed",
          );
        return xml;
      },
    );
  }
}

const NEXT = ["NextContinuationToken", "NextPartNumberMarker", "NextKeyMarker"];

/** Where a listing goes on, "" where it does not say; `undefined` at its end, and for what is none. */
function nextOf(xml: Xml): string | undefined {
  if (textOf(xml, "IsTruncated") !== "true") return undefined;
  return NEXT.map((name) => textOf(xml, name) ?? "").find((next) => next !== "") ?? "";
}

/** An error that came with status 200 is the store's own trouble, unless it names a cause of ours. */
function asFailed(error: Error): Error {
  if (!(error instanceof S3Failure) || !/^(?:InternalError|ServiceUnavailable)$/.test(error.code)) {
    return error;
  }
  return new S3Failure(error.message, error.code, { status: 500 });
}

/** All bytes of the answer, however long it takes as long as some come. */
async function bytesOf(response: Response, moved: () => void): Promise<Uint8Array<ArrayBuffer>> {
  const size = Number(response.headers.get("content-length") ?? Number.NaN);
  if (response.body === null || size <= AT_ONCE)
    return new Uint8Array(await response.arrayBuffer());
  const chunks: Uint8Array[] = [];
  for await (const chunk of response.body) {
    moved();
    chunks.push(chunk);
  }
  return new Uint8Array(Buffer.concat(chunks));
}

/** Reads what is left, so that the connection can serve again. */
async function drained(response: Response): Promise<number> {
  await response.arrayBuffer();
  return response.status;
}
