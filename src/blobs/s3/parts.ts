/** Bytes gathered into the parts of a multipart upload, some on their way while the next one fills. */
import type { S3Client } from "./client.ts";
import { S3Failure } from "./errors.ts";
import { dataKey, restKey } from "./names.ts";
import { FIRST_PART, inFlightMax, PARTS_MAX, partSize } from "./part-sizes.ts";
import type { PiecedBytes } from "./upload-notes.ts";

/** What is gathered first has room for this many bytes, so that small uploads cost little memory. */
const FIRST_ROOM = 256 << 10;

export interface PartsOptions {
  readonly client: S3Client;
  /** Names the object that a new multipart upload makes. */
  readonly stem: string;
  readonly before: PiecedBytes | undefined;
  /** Writes the new multipart upload down before anything depends on it. */
  readonly noteMultipart: (uploadId: string) => Promise<void>;
}

export class Parts {
  readonly #client: S3Client;
  readonly #stem: string;
  readonly #noteMultipart: (uploadId: string) => Promise<void>;
  /** Objects whose bytes come first in the part that is being gathered. */
  #rests: PiecedBytes["rests"];
  #uploadId: string | undefined;
  readonly #etags: string[];
  /** Parts sent or on their way. */
  #count: number;
  #buffer: Uint8Array<ArrayBuffer> | undefined;
  /** End of what is gathered, counting the room left for the rests. */
  #filled: number;
  readonly #inFlight = new Set<Promise<void>>();
  #spare: Uint8Array<ArrayBuffer>[] = [];
  #failure: Error | undefined;

  constructor({ client, stem, before, noteMultipart }: PartsOptions) {
    this.#client = client;
    this.#stem = before?.parts?.stem ?? stem;
    this.#noteMultipart = noteMultipart;
    this.#rests = before?.rests ?? [];
    this.#uploadId = before?.parts?.uploadId;
    this.#etags = [...(before?.parts?.etags ?? [])];
    this.#count = this.#etags.length;
    this.#filled = this.#restsSize;
  }

  /** Whether all bytes are in memory and rests, none in parts. */
  get areNone(): boolean {
    return this.#count === 0;
  }

  get stem(): string {
    return this.#stem;
  }

  /** The multipart upload, once there is one. */
  get uploadId(): string | undefined {
    return this.#uploadId;
  }

  /** The rests that are not part of a part yet. */
  get rests(): PiecedBytes["rests"] {
    return this.#rests;
  }

  /** The parts as noted, when none is on its way. */
  get noted(): Pick<PiecedBytes, "parts"> {
    const uploadId = this.#uploadId;
    return uploadId === undefined
      ? {}
      : { parts: { stem: this.#stem, uploadId, etags: this.#etags } };
  }

  /** Copies bytes in; resolves when more may come. */
  async add(bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    for (let at = 0; at < bytes.byteLength;) {
      if (this.#failure !== undefined) throw this.#failure;
      const size = partSize(this.#count + 1);
      const buffer = this.#roomFor(Math.min(size, this.#filled + bytes.byteLength - at), size);
      const taken = bytes.subarray(at, at + Math.min(buffer.byteLength, size) - this.#filled);
      buffer.set(taken, this.#filled);
      this.#filled += taken.byteLength;
      at += taken.byteLength;
      if (this.#filled === size) await this.#sendGathered();
    }
  }

  /** The bytes gathered since the rests. */
  gathered(): Uint8Array<ArrayBuffer> {
    return (this.#buffer ?? new Uint8Array(0)).subarray(this.#restsSize, this.#filled);
  }

  /** All bytes that are in no part, those of the rests included. */
  async all(): Promise<Uint8Array<ArrayBuffer>> {
    return (await this.#withRests()).subarray(0, this.#filled);
  }

  /** Waits for the parts under way. Throws what befell any. */
  async drain(): Promise<void> {
    await Promise.all(this.#inFlight);
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** Sends what is left and makes the object of all parts. */
  async complete(size: number): Promise<void> {
    if (this.#filled > 0) await this.#sendGathered();
    await this.drain();
    if (this.#uploadId === undefined) throw new Error("there are no parts");
    await this.#client.completeMultipart(this.key, this.#uploadId, this.#etags, size);
  }

  /** Where `complete` makes the object. */
  get key(): string {
    return dataKey(this.#stem);
  }

  /** Lets the parts under way end, whatever becomes of them. */
  async settle(): Promise<void> {
    this.#failure ??= new Error("the upload has ended");
    await Promise.all(this.#inFlight);
  }

  get #restsSize(): number {
    return this.#rests.reduce((sum, { size }) => sum + size, 0);
  }

  #roomFor(needed: number, size: number): Uint8Array<ArrayBuffer> {
    const buffer = this.#buffer ?? this.#spare.pop();
    if (buffer !== undefined && buffer.byteLength >= needed) return (this.#buffer = buffer);
    const room = needed <= FIRST_ROOM ? FIRST_ROOM : size;
    const larger = new Uint8Array(room);
    if (this.#buffer) larger.set(this.#buffer.subarray(0, this.#filled));
    return (this.#buffer = larger);
  }

  async #sendGathered(): Promise<void> {
    const number = this.#count + 1;
    if (number > PARTS_MAX) {
      throw new S3Failure(
        "the blob has more bytes than the store takes in parts",
        "EntityTooLarge",
        {
          status: 400,
        },
      );
    }
    const buffer = await this.#withRests();
    const bytes = buffer.subarray(0, this.#filled);
    while (this.#inFlight.size >= inFlightMax(partSize(number))) await Promise.race(this.#inFlight);
    if (this.#failure !== undefined) throw this.#failure;
    this.#uploadId ??= await this.#begin();
    this.#count = number;
    this.#buffer = undefined;
    this.#filled = 0;
    this.#rests = [];
    const job = this.#send(this.#uploadId, number, bytes).finally(() => {
      this.#inFlight.delete(job);
      // Sizes only grow, and a smaller buffer is of no use any more.
      if (buffer.byteLength >= FIRST_PART) this.#spare.push(buffer);
      this.#spare = this.#spare.filter(({ byteLength }) => byteLength >= partSize(this.#count));
    });
    this.#inFlight.add(job);
  }

  async #send(uploadId: string, number: number, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    try {
      this.#etags[number - 1] = await this.#client.uploadPart(this.key, uploadId, {
        number,
        bytes,
      });
    } catch (error) {
      this.#fail(error);
    }
  }

  async #begin(): Promise<string> {
    const uploadId = await this.#client.createMultipart(this.key);
    const noting = this.#noteMultipart(uploadId).catch((error: unknown) => this.#fail(error));
    const job = noting.finally(() => this.#inFlight.delete(job));
    this.#inFlight.add(job);
    return uploadId;
  }

  #fail(error: unknown): void {
    this.#failure ??= error instanceof Error ? error : new Error(String(error));
  }

  /** The gathered bytes with those of the rests before them. */
  async #withRests(): Promise<Uint8Array<ArrayBuffer>> {
    const buffer = this.#roomFor(this.#filled, partSize(this.#count + 1));
    let at = 0;
    for (const { stem, size } of this.#rests) {
      const bytes = await this.#client.get(restKey(stem));
      if (bytes?.byteLength !== size) {
        throw new S3Failure(`an unfinished upload lost ${size} bytes at ${restKey(stem)}`, "Gone", {
          status: 404,
        });
      }
      buffer.set(bytes, at);
      at += size;
    }
    return buffer;
  }
}
