/** What a bucket's store really does, found out with a few requests on an object that is removed again. */
import { randomHex } from "../../base/clock.ts";
import { BlobStoreUnavailable } from "../port.ts";
import { S3Client } from "./client.ts";
import { S3Failure } from "./errors.ts";
import { DATA } from "./names.ts";
import type { S3Options } from "./transport.ts";

/** Plain values, for the log as they are. */
export interface S3Capabilities {
  /** `If-None-Match: *` on PUT: an object in the way stays (412), is replaced all the same, or the header is refused. */
  readonly ifNoneMatch: "honoured" | "ignored" | "refused";
  /** Whether ETags come in quotes, as they should; both are understood. */
  readonly etag: "quoted" | "bare" | "absent";
  /** Of a listing of three names; nothing here relies on it. */
  readonly listing: "sorted" | "unsorted" | "late";
  /** Whether left-over multipart uploads can be found. */
  readonly listsMultiparts: boolean;
  /** This machine's clock against the store's, in seconds; positive where it is ahead. */
  readonly clockSkew: number;
}

const NAMES = ["a", "b", "c"] as const;

/**
 * Writes, reads, lists and deletes below the prefix. Throws `BlobStoreUnavailable` with the field and the remedy
 * where the bucket cannot be used.
 */
export async function probeS3(options: S3Options): Promise<S3Capabilities> {
  const client = new S3Client(options);
  const folder = `probe/${randomHex(8)}/`;
  const body = new TextEncoder().encode("Holdfast finds out what this store can do.");
  try {
    await Promise.all(NAMES.map(async (name) => client.put(folder + name, body)));
    const [ifNoneMatch, listing, listsMultiparts, found] = await Promise.all([
      conditional(client, `${folder}a`, body),
      order(client, folder),
      canListMultiparts(client),
      client.head(`${folder}b`),
      readBack(client, `${folder}c`, body),
    ]);
    const etag = found?.headers.get("etag") ?? "";
    const date = Date.parse(found?.headers.get("date") ?? "");
    return {
      ifNoneMatch,
      etag: etag === "" ? "absent" : /^".*"$/.test(etag) ? "quoted" : "bare",
      listing,
      listsMultiparts,
      clockSkew: Number.isNaN(date) ? 0 : Math.round((Date.now() - date) / 1000),
    };
  } finally {
    // Where even this is refused the error under way says more.
    await Promise.allSettled(NAMES.map(async (name) => client.delete(folder + name)));
  }
}

async function conditional(
  client: S3Client,
  key: string,
  body: Uint8Array<ArrayBuffer>,
): Promise<S3Capabilities["ifNoneMatch"]> {
  try {
    return (await client.put(key, body, { ifAbsent: true })) ? "ignored" : "honoured";
  } catch (error) {
    if (error instanceof S3Failure && (error.status === 501 || error.status === 400))
      return "refused";
    throw error;
  }
}

async function order(client: S3Client, folder: string): Promise<S3Capabilities["listing"]> {
  const { objects } = await client.list(folder);
  const names = objects.map(({ key }) => key.slice(folder.length));
  if (names.length < NAMES.length) return "late";
  return names.join("") === NAMES.join("") ? "sorted" : "unsorted";
}

async function canListMultiparts(client: S3Client): Promise<boolean> {
  try {
    for await (const _ of client.openMultiparts(DATA)) break;
    return true;
  } catch (error) {
    if (error instanceof S3Failure && error.status >= 400 && !error.isPassing) return false;
    if (error instanceof S3Failure && error.status === 501) return false;
    throw error;
  }
}

async function readBack(
  client: S3Client,
  key: string,
  body: Uint8Array<ArrayBuffer>,
): Promise<void> {
  const bytes = await client.get(key);
  if (bytes !== undefined && Buffer.compare(bytes, body) === 0) return;
  throw new BlobStoreUnavailable(
    `bucket "${client.transport.bucket}" does not give back what is written to it: check storage.s3.endpoint and storage.s3.bucket`,
  );
}
