/** The ObjectStore port on a bucket. */
import type { ObjectInfo, ObjectStore, PutOptions } from "../objects.ts";
import { BlobStoreUnavailable } from "../port.ts";
import { S3Client } from "./client.ts";
import type { S3Options } from "./transport.ts";

export interface S3ObjectsOptions extends S3Options {
  /** Whether the store honours `If-None-Match: *`, as the probe found. */
  readonly ifNoneMatch: boolean;
}

/** Longer than two who start at the same moment are apart. */
const SETTLE_MS = 500;
const NAME = /^[A-Za-z0-9._-]+(?:\/[A-Za-z0-9._-]+)*$/;
const PREFIX = /^(?:[A-Za-z0-9._-]+\/)*$/;

/** Opens the store; no request is made. */
export function openS3Objects(options: S3ObjectsOptions): ObjectStore {
  return new S3Objects(new S3Client(options), options.ifNoneMatch);
}

class S3Objects implements ObjectStore {
  readonly #client: S3Client;
  readonly #ifNoneMatch: boolean;

  constructor(client: S3Client, ifNoneMatch: boolean) {
    this.#client = client;
    this.#ifNoneMatch = ifNoneMatch;
  }

  async put(
    name: string,
    bytes: Uint8Array<ArrayBuffer>,
    { ifAbsent = false }: PutOptions = {},
  ): Promise<boolean> {
    checked(name, NAME);
    if (ifAbsent === false || this.#ifNoneMatch)
      return this.#client.put(name, bytes, { ifAbsent: ifAbsent !== false });
    if (ifAbsent === "nearly") return this.#putNearly(name, bytes);
    throw new BlobStoreUnavailable(
      "the bucket's store does not honour If-None-Match, so two nodes without a database could both take the bucket for theirs: use another store, or keep the metadata in a database (metadata.postgres, metadata.etcd)",
    );
  }

  /** Of those who write at the same moment the last one stays, and the others see it. No more than that is sure. */
  async #putNearly(name: string, bytes: Uint8Array<ArrayBuffer>): Promise<boolean> {
    if ((await this.#client.get(name)) !== undefined) return false;
    await this.#client.put(name, bytes);
    await Bun.sleep(SETTLE_MS);
    const stored = await this.#client.get(name);
    return stored !== undefined && Buffer.compare(stored, bytes) === 0;
  }

  async get(name: string): Promise<Uint8Array<ArrayBuffer> | undefined> {
    return this.#client.get(checked(name, NAME));
  }

  async *list(prefix: string): AsyncIterable<ObjectInfo> {
    for await (const { key, size, modified } of this.#client.listAll(checked(prefix, PREFIX))) {
      yield { name: key, size, modified };
    }
  }

  async delete(name: string): Promise<void> {
    await this.#client.delete(checked(name, NAME));
  }
}

function checked(text: string, pattern: RegExp): string {
  const isPath = text.split("/").some((part) => part === "." || part === "..");
  if (!pattern.test(text) || isPath)
    throw new RangeError(`not an object name: ${JSON.stringify(text)}`);
  return text;
}
