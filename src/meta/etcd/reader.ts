/** Gets and scans: each one snapshot with its revision. */
import {
  ABSENT,
  type Entry,
  type Expectation,
  type GetResult,
  RevisionCompacted,
  type ScanOptions,
  type ScanResult,
  StoreUnavailable,
} from "../port.ts";
import { endOf, type Space } from "./space.ts";
import type { TruthReader } from "./truth.ts";
import { decode, type Kv, type Operation, type RangeAnswer } from "./wire.ts";

/** Keys in one transaction, the store's record beside them: etcd's default for `--max-txn-ops` is 128. */
export const KEYS_MAX = 127;
/** Times that a read of many keys is begun again because etcd was compacted meanwhile. */
const TRIES = 3;

/** What one transaction read. */
interface Snapshot {
  readonly raw: number;
  readonly stale: boolean;
  readonly ranges: readonly (RangeAnswer | undefined)[];
}

export class Reader {
  readonly #truth: TruthReader;
  readonly #space: Space;

  constructor(truth: TruthReader, space: Space) {
    this.#truth = truth;
    this.#space = space;
  }

  /** Any number of keys; duplicates are asked for once. */
  async get(keys: readonly string[]): Promise<GetResult> {
    const names = [...new Set(keys)];
    const { raw, stale, ranges } = await this.#many(names, false);
    const found = new Map<string, Entry>();
    for (const [at, name] of names.entries()) {
      const kv = ranges[at]?.kvs?.[0];
      if (kv !== undefined) found.set(name, this.#entry(name, kv));
    }
    const entries = keys.map((key) => found.get(key));
    return { revision: this.#space.revision(raw), stale, entries };
  }

  /** The keys whose expectation does not hold. Throws `StoreUnavailable` when the truth cannot be had. */
  async broken(expect: readonly Expectation[]): Promise<string[]> {
    const { stale, ranges } = await this.#many(
      expect.map(({ key }) => key),
      true,
    );
    if (stale) throw new StoreUnavailable("etcd has no majority: a commit cannot be checked now");
    return expect
      .filter(
        ({ version }, at) =>
          Number(ranges[at]?.kvs?.[0]?.mod_revision ?? 0) !== this.#space.raw(version),
      )
      .map(({ key }) => key);
  }

  async scan(options: ScanOptions): Promise<ScanResult> {
    const { prefix, after, limit, reverse = false, keysOnly = false } = options;
    // Keys are ASCII: their order as texts is their order by byte.
    let from = prefix;
    let to = endOf(prefix);
    if (after !== undefined) {
      // The first key after a key is that key and a NUL.
      if (!reverse && after >= from) from = `${after}\0`;
      if (reverse && after < to) to = after;
    }
    const range: Operation = {
      request_range: {
        key: this.#space.record(from),
        range_end: this.#space.record(to),
        limit: String(limit),
        ...(reverse ? { sort_order: "DESCEND", sort_target: "KEY" } : {}),
        ...(keysOnly ? { keys_only: true } : {}),
      },
    };
    // To etcd, an end that is not after the beginning is no empty range.
    const empty = to <= from;
    const { raw, stale, ranges } = await this.#snapshot(empty ? [] : [range]);
    const { kvs = [], more = false } = ranges[0] ?? {};
    const entries = kvs.flatMap((kv) => {
      const key = this.#space.keyOf(kv.key);
      if (key === undefined) return [];
      return [keysOnly ? { key, value: "", version: ABSENT } : this.#entry(key, kv)];
    });
    return { revision: this.#space.revision(raw), stale, entries, more };
  }

  /** One range a name, all as of one revision. */
  async #many(names: readonly string[], keysOnly: boolean): Promise<Snapshot> {
    for (let tries = 1; ; tries++) {
      const at = (chunk: number, raw?: number): Operation[] =>
        names.slice(chunk, chunk + KEYS_MAX).map((name) => ({
          request_range: {
            key: this.#space.record(name),
            ...(keysOnly ? { keys_only: true } : {}),
            ...(raw === undefined ? {} : { revision: String(raw) }),
          },
        }));
      const first = await this.#snapshot(at(0));
      if (names.length <= KEYS_MAX) return first;
      try {
        const ranges = [...first.ranges];
        let { stale } = first;
        for (let chunk = KEYS_MAX; chunk < names.length; chunk += KEYS_MAX) {
          const next = await this.#snapshot(at(chunk, first.raw));
          ranges.push(...next.ranges);
          stale ||= next.stale;
        }
        return { raw: first.raw, stale, ranges };
      } catch (error) {
        if (!(error instanceof RevisionCompacted)) throw error;
        if (tries === TRIES)
          throw new StoreUnavailable("etcd is compacted faster than it can be read", {
            cause: error,
          });
      }
    }
  }

  async #snapshot(operations: readonly Operation[]): Promise<Snapshot> {
    const { answer, stale } = await this.#truth.read([this.#space.readRecord, ...operations]);
    const [record, ...ranges] = (answer.responses ?? []).map((one) => one.response_range);
    this.#space.requireRecord(record?.kvs?.[0]?.value);
    return { raw: Number(answer.header.revision), stale, ranges };
  }

  #entry(key: string, { value, mod_revision }: Kv): Entry {
    return { key, value: decode(value), version: this.#space.revision(mod_revision) };
  }
}
