/**
 * Where things are in etcd, and how its revisions become the port's.
 *
 * `<prefix>store`          the store's own record: its epoch and identity
 * `<prefix>data/<key>`     the records
 * `<prefix>data/<begin>ÿ`  the heartbeat of the records that begin so; directly after them, since keys are ASCII, so
 *                         that one watcher can have both in order
 * `<prefix>outcome/<uuid>` what became of a commit whose answer may get lost
 *
 * A revision is epoch × 2^40 + etcd's own: a store that is built anew gets a higher epoch, and no version is
 * ever seen twice.
 */
import { ABSENT, type Revision, StoreCorrupt, StoreUnavailable } from "../port.ts";
import { decode, encode, type Compare, type Operation, type RawRevision } from "./wire.ts";

const EPOCH = 2 ** 40;
const EPOCHS_MAX = 2 ** 13;
/** Greater than what any key may go on with. */
const AFTER = "\u00ff";

export interface StoreRecord {
  readonly epoch: number;
  /** Every revision is greater than this one. */
  readonly above: Revision;
  readonly id: string;
}

/** The names, which need no record. */
export class Names {
  readonly store: string;
  /** All records and heartbeats: from the first, to before the second. */
  readonly data: readonly [string, string];
  readonly #data: string;
  readonly #outcome: string;

  constructor(prefix: string) {
    this.#data = `${prefix}data/`;
    this.#outcome = `${prefix}outcome/`;
    this.store = encode(`${prefix}store`);
    this.data = [encode(this.#data), encode(`${prefix}data0`)];
  }

  record(key: string): string {
    return encode(this.#data + key);
  }

  heartbeat(prefix: string): string {
    return this.record(endOf(prefix));
  }

  /** The records whose keys begin with `prefix`, and their heartbeat: from the first, to before the second. */
  followed(prefix: string): readonly [string, string] {
    return [this.record(prefix), this.record(`${endOf(prefix)}\0`)];
  }

  /** The port's key of a record, or `undefined` for a heartbeat. */
  keyOf(name: string): string | undefined {
    const key = decode(name).slice(this.#data.length);
    return key.endsWith(AFTER) ? undefined : key;
  }

  outcome(): string {
    return encode(this.#outcome + crypto.randomUUID());
  }
}

export class Space extends Names {
  /** When the store was created: none of its records is older. */
  readonly origin: RawRevision;
  readonly #base: number;
  readonly #above: Revision;
  readonly #value: string;

  /** `value` is the store record as it is in etcd, `origin` its revision. */
  constructor(prefix: string, value: string, origin: RawRevision) {
    super(prefix);
    const { epoch, above } = parseRecord(value);
    this.#base = epoch * EPOCH;
    this.#above = above;
    this.#value = value;
    this.origin = origin;
  }

  revision(raw: string | number | undefined): Revision {
    return this.#base + Number(raw);
  }

  /** What etcd must have for this version, 0 for absence, -1 for a version of another epoch. */
  raw(version: Revision): RawRevision {
    if (version === ABSENT) return 0;
    const raw = version - this.#base;
    return raw > 0 && raw < EPOCH ? raw : -1;
  }

  /** The last of etcd's revisions that is not after `after`, or `undefined` when it is of a store before this one. */
  position(after: Revision): RawRevision | undefined {
    if (after < this.#above) return undefined;
    return Math.max(this.origin, after - this.#base);
  }

  /** Reads the store's record beside what is asked for, which also makes etcd confirm its leader. */
  get readRecord(): Operation {
    return { request_range: { key: this.store } };
  }

  get sameStore(): Compare {
    return { key: this.store, result: "EQUAL", target: "VALUE", value: this.#value };
  }

  /** Throws `StoreUnavailable` when the store has been replaced under a running program. */
  requireRecord(value: string | undefined): void {
    if (value !== this.#value)
      throw new StoreUnavailable(
        "the store in etcd is another one than when this program started, or is gone (metadata.etcd): restart",
      );
  }
}

/** The record of a new store, whose revisions are all greater than `above`. */
export function newRecord(above: Revision): string {
  const epoch = Math.floor(above / EPOCH) + 1;
  if (!Number.isSafeInteger(above) || above < 0 || epoch >= EPOCHS_MAX)
    throw new RangeError(`no revisions are left above ${above}`);
  const record: StoreRecord = { epoch, above, id: crypto.randomUUID() };
  return encode(JSON.stringify(record));
}

function parseRecord(value: string): StoreRecord {
  try {
    const record = JSON.parse(decode(value)) as StoreRecord;
    if (Number.isInteger(record.epoch) && record.epoch > 0 && Number.isInteger(record.above))
      return record;
  } catch {
    // said below
  }
  throw new StoreCorrupt(
    `the store record in etcd is not ours: "${decode(value)}" (metadata.etcd.prefix)`,
  );
}

/** Above every key that begins with `prefix`. */
export function endOf(prefix: string): string {
  return prefix + AFTER;
}
