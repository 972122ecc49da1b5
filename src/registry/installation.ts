/** One database and one bucket make one installation: each names it, and neither is used with another's. */
import type { Clock } from "../base/clock.ts";
import type { ObjectStore } from "../blobs/objects.ts";
import { requireFresh } from "../meta/fresh.ts";
import { keys } from "../meta/keys.ts";
import type { MetaStore } from "../meta/port.ts";
import { findInstallation, prepareSchema, readInstallation } from "./schema.ts";

/** Name of the bucket's record, readable by people. */
const RECORD = "holdfast.json";
/** Of the objects that Holdfast keeps in a bucket; a newer program may raise it. */
const FORMAT = 1;

interface BucketRecord {
  readonly format: number;
  readonly installation: string;
}

/** Database and bucket do not belong together; `message` says why and what to do. */
export class WrongInstallation extends Error {
  override readonly name = "WrongInstallation";
}

/** The bucket belongs to an installation whose database is empty: it can be rebuilt from the bucket. */
export class DatabaseEmpty extends WrongInstallation {}

/** How messages call the two. */
export interface StoreNames {
  readonly database: string;
  readonly bucket: string;
}

/**
 * Prepares the metadata's schema and makes sure that database and bucket are of one installation, which two empty
 * ones become. Any number of nodes may do it at once. Resolves to the installation's id. Throws
 * `WrongInstallation`, `DatabaseEmpty`, and what `prepareSchema` throws.
 */
export async function joinInstallation(
  meta: MetaStore,
  objects: ObjectStore,
  clock: Clock,
  names: StoreNames,
): Promise<string> {
  const found = await bucketRecord(objects, names);
  const known = await findInstallation(meta);
  if (known === undefined && found !== undefined) {
    throw new DatabaseEmpty(
      `the ${names.database} is empty, but the ${names.bucket} holds the images of installation ${found.installation}: run \`holdfast rebuild\` to fill the database from the bucket, or correct which of the two is configured`,
    );
  }
  if (known !== undefined && found === undefined && (await hasContent(meta))) {
    throw new WrongInstallation(
      `the ${names.database} belongs to installation ${known}, but the ${names.bucket} holds nothing of it: correct which of the two is configured`,
    );
  }
  await prepareSchema(meta, clock);
  const id = await readInstallation(meta);
  // "nearly": what two databases that find the same new bucket at the same moment can spoil is still new.
  if (found === undefined) await objects.put(RECORD, encodeRecord(id), { ifAbsent: "nearly" });
  const bound = found ?? (await bucketRecord(objects, names));
  if (bound?.installation !== id) {
    throw new WrongInstallation(
      `the ${names.bucket} belongs to installation ${bound?.installation}, the ${names.database} to ${id}: correct which of the two is configured`,
    );
  }
  return id;
}

/** The installation that a bucket belongs to, if any. Throws `WrongInstallation` for one written by a newer program. */
export async function bucketInstallation(
  objects: ObjectStore,
  names: StoreNames,
): Promise<string | undefined> {
  return (await bucketRecord(objects, names))?.installation;
}

async function bucketRecord(
  objects: ObjectStore,
  { bucket }: StoreNames,
): Promise<BucketRecord | undefined> {
  const bytes = await objects.get(RECORD);
  if (bytes === undefined) return undefined;
  const text = new TextDecoder().decode(bytes);
  let record: Partial<BucketRecord>;
  try {
    record = JSON.parse(text) as Partial<BucketRecord>;
  } catch {
    throw new WrongInstallation(`${RECORD} in the ${bucket} is not ours: choose another prefix`);
  }
  const { format, installation } = record;
  if (typeof format !== "number" || typeof installation !== "string") {
    throw new WrongInstallation(`${RECORD} in the ${bucket} is not ours: choose another prefix`);
  }
  if (format > FORMAT) {
    throw new WrongInstallation(
      `the ${bucket} has format ${format}, this program knows up to ${FORMAT}: start the newer Holdfast that wrote it`,
    );
  }
  return { format, installation };
}

function encodeRecord(installation: string): Uint8Array<ArrayBuffer> {
  const record: BucketRecord = { format: FORMAT, installation };
  return new TextEncoder().encode(`${JSON.stringify(record)}\n`);
}

async function hasContent(meta: MetaStore): Promise<boolean> {
  const first = { prefix: keys.repositories, limit: 1, keysOnly: true };
  return requireFresh(await meta.scan(first)).entries.length > 0;
}
