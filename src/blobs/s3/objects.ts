/** The ObjectStore port on a bucket. */
import type { ObjectInfo, ObjectStore } from "../objects.ts";
import { BlobStoreUnavailable } from "../port.ts";
import { S3Client } from "./client.ts";
import type { S3Options } from "./transport.ts";

export interface S3ObjectsOptions extends S3Options {
  /** Whether the store honours `If-None-Match: *`, as the probe found; without it nothing is put `ifAbsent`. */
  readonly ifNoneMatch: boolean;
}

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
    { ifAbsent = false }: { readonly ifAbsent?: boolean } = {},
  ): Promise<boolean> {
    if (ifAbsent && !this.#ifNoneMatch) {
      throw new BlobStoreUnavailable(
        "the bucket's store does not honour If-None-Match, so nothing can be written there only once: use another store, or a database",
      );
    }
    return this.#client.put(checked(name, NAME), bytes, { ifAbsent });
  }

  async get(name: string): Promise<Uint8Array<ArrayBuffer> | undefined> {
    return this.#client.get(checked(name, NAME));
  }

  list(prefix: string): AsyncIterable<ObjectInfo> {
    return this.#list(checked(prefix, PREFIX));
  }

  async delete(name: string): Promise<void> {
    await this.#client.delete(checked(name, NAME));
  }

  async *#list(prefix: string): AsyncIterable<ObjectInfo> {
    for await (const { key, size, modified } of this.#client.listAll(prefix)) {
      yield { name: key, size, modified };
    }
  }
}

function checked(text: string, pattern: RegExp): string {
  const isPath = text.split("/").some((part) => part === "." || part === "..");
  if (!pattern.test(text) || isPath) throw new Error(`not an object name: ${JSON.stringify(text)}`);
  return text;
}
