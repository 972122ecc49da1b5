/**
 * Taking over one repository of another registry. Records are written under an incarnation that the repository does
 * not have yet; the last commit gives it that incarnation, so all becomes visible at once, and whatever was cut
 * short before counts for nothing. That commit also leaves the mark that every other one expects to be missing:
 * once it is there, nothing here writes to the repository again.
 */
import { batches } from "../base/batches.ts";
import type { Limiter } from "../base/limiter.ts";
import { isFlaw, type Flaw, type ForeignBlob, type ForeignLayout } from "../blobs/foreign.ts";
import { BlobStoreUnavailable } from "../blobs/port.ts";
import { keys } from "../meta/keys.ts";
import type { Entry, Expectation } from "../meta/port.ts";
import { isDigestOf } from "../blobs/content.ts";
import { parseDigest, type Digest } from "../oci/digest.ts";
import { OciError } from "../oci/errors.ts";
import { parseManifest, type Manifest } from "../oci/manifest.ts";
import type { RepositoryName } from "../oci/name.ts";
import { FlawTally, type AdoptedRecord } from "./adopt-records.ts";
import { commitPlan, expectation, type Context } from "./context.ts";
import { latestMove } from "./history.ts";
import { indexPuts, manifestPuts, tagPuts, type Puts } from "./manifest-records.ts";
import {
  decode,
  encode,
  type BlobRecord,
  type LinkRecord,
  type ManifestRecord,
  type RepositoryRecord,
} from "./records.ts";
import { isLive } from "./repository.ts";

/** Who has put what was found, as history shows it. */
export const ADOPTER = "adoption";
/** Incarnation of a repository that is named but not taken over. */
export const NAMED_ONLY = "adopting";
/** Adoption makes each manifest record at most once, so one generation is enough. */
const GENERATION = "adopted";
/** Manifests above this are not read into memory, in bytes; distribution takes 4 MiB. */
const MANIFEST_BYTES_MAX = 16 * 1024 * 1024;
const BATCH_MAX = 200;
/** Manifests written by one commit. */
const WIDTH = 64;
/** Readings of a repository that another program keeps changing. */
const ATTEMPTS_MAX = 5;
const EXAMPLES_MAX = 5;

/** The repository is ours already. */
class Adopted extends Error {}

export interface AdoptOptions {
  /** Manifests read at once. */
  readonly reads: Limiter;
  readonly signal: AbortSignal | undefined;
}

/** Resolves when the repository is taken over, by this process or another. Throws where it cannot be read, or on `signal`. */
export async function adoptRepository(
  ctx: Context,
  layout: ForeignLayout,
  name: RepositoryName,
  options: AdoptOptions,
): Promise<void> {
  for (let attempt = 1; attempt <= ATTEMPTS_MAX; attempt++) {
    try {
      if (await new Adoption(ctx, layout, name, await layout.stamp(name), options).run()) return;
    } catch (error) {
      if (error instanceof Adopted) return;
      throw error;
    }
    ctx.alarm("another program changes a repository while it is taken over; it is read again", {
      repository: name,
      attempt,
    });
  }
  throw new BlobStoreUnavailable(
    `another program keeps changing ${name} while it is taken over: stop it`,
  );
}

/** A fact with the records that go with it; it is left out when `key` already says something that counts. */
interface Fact {
  readonly key: string;
  readonly puts: Puts;
  /** Records that count for nothing without the others. */
  readonly indexes?: Puts;
}

class Adoption {
  readonly #ctx: Context;
  readonly #layout: ForeignLayout;
  readonly #name: RepositoryName;
  readonly #stamp: string;
  readonly #options: AdoptOptions;
  readonly #flaws = new FlawTally(EXAMPLES_MAX);
  readonly #counts = { manifests: 0, tags: 0, layers: 0 };
  #incarnation = "";
  /** The repository had content of ours before. */
  #joined = false;

  constructor(
    ctx: Context,
    layout: ForeignLayout,
    name: RepositoryName,
    stamp: string,
    options: AdoptOptions,
  ) {
    this.#ctx = ctx;
    this.#layout = layout;
    this.#name = name;
    this.#stamp = stamp;
    this.#options = options;
  }

  /** False when the repository changed meanwhile. */
  async run(): Promise<boolean> {
    const { entries } = await this.#ctx.meta.get([keys.repository(this.#name)]);
    const existing = decode<RepositoryRecord>(entries[0])?.value.incarnation ?? NAMED_ONLY;
    this.#joined = existing !== NAMED_ONLY;
    this.#incarnation = this.#joined ? existing : `adopted-${this.#stamp.slice(0, 16)}`;
    await this.#layers();
    await this.#manifests();
    await this.#tags();
    if ((await this.#layout.stamp(this.#name)) !== this.#stamp) return false;
    await this.#finish();
    return true;
  }

  async #layers(): Promise<void> {
    const at = this.#ctx.clock.now();
    const value = encode({ incarnation: this.#incarnation, at } satisfies LinkRecord);
    for await (const digests of batches(this.#layout.layers(this.#name, this.#note), this.#batch)) {
      const blobs = await this.#found(digests);
      const facts = blobs.map(([digest]) => {
        const key = keys.link(digest, this.#name);
        return { key, puts: [{ key, value }] };
      });
      this.#counts.layers += await this.#write(facts, blobs, false);
    }
  }

  async #manifests(): Promise<void> {
    for await (const revisions of batches(
      this.#layout.revisions(this.#name, this.#note),
      this.#width,
    )) {
      const read = await Promise.all(
        revisions.map(async ({ digest, at }) => {
          const read = await this.#options.reads.run(async () => this.#read(digest));
          return { digest, at, ...read };
        }),
      );
      const sound = read.flatMap(({ digest, at, manifest, blob, flaw }) => {
        if (flaw !== undefined) this.#note(flaw);
        return manifest && blob ? [{ digest, at, manifest, blob }] : [];
      });
      const facts = sound.map(({ digest, at, manifest, blob: { size } }) => {
        const all = { name: this.#name, digest, size, manifest, by: ADOPTER, at };
        const puts = manifestPuts(all, this.#incarnation, GENERATION);
        return { key: keys.manifest(this.#name, digest), puts, indexes: indexPuts(all) };
      });
      const blobs = sound.map(({ digest, blob }) => [digest, blob] as const);
      this.#counts.manifests += await this.#write(facts, blobs, true);
    }
  }

  async #tags(): Promise<void> {
    const { meta } = this.#ctx;
    for await (const tags of batches(this.#layout.tags(this.#name, this.#note), this.#batch)) {
      const wanted = tags.map(({ digest }) => keys.manifest(this.#name, digest));
      const { entries } = await meta.get(wanted);
      const facts: Fact[] = [];
      for (const [i, { tag, digest, at }] of tags.entries()) {
        const record = decode<ManifestRecord>(entries[i])?.value;
        if (record?.incarnation !== this.#incarnation) {
          const where = `${this.#name}:${tag}`;
          this.#note({ kind: "tag without its manifest", where, reason: `it names ${digest}` });
          continue;
        }
        const { mediaType, size, generation } = record;
        const known = { name: this.#name, digest, size, manifest: { mediaType }, by: ADOPTER, at };
        const moves = this.#joined ? (await latestMove(this.#ctx, this.#name, tag)) + 1 : 1;
        const target = { incarnation: this.#incarnation, generation, moves };
        const puts = tagPuts(known, tag, undefined, target);
        facts.push({ key: keys.tag(this.#name, tag), puts });
      }
      this.#counts.tags += await this.#write(facts, [], false);
    }
  }

  async #finish(): Promise<void> {
    const { meta, clock } = this.#ctx;
    const at = clock.now();
    const mark: AdoptedRecord = {
      at,
      ...this.#counts,
      ...(this.#flaws.total === 0 ? {} : { flaws: this.#flaws.report() }),
    };
    const key = keys.repository(this.#name);
    await commitPlan(meta, async () => {
      const { entries } = await meta.get([keys.adopted(this.#name), key]);
      if (entries[0] !== undefined) throw new Adopted();
      const repository: RepositoryRecord = { incarnation: this.#incarnation, at };
      const put = [{ key: keys.adopted(this.#name), value: encode(mark) }];
      if (!this.#joined) put.push({ key, value: encode(repository) });
      return { commit: { expect: [this.#unmarked, expectation(key, entries[1])], put }, result: 0 };
    });
  }

  /** Bytes have no place that tells the repository. */
  readonly #note = (flaw: Flaw): void => {
    const where = parseDigest(flaw.where) ? `${this.#name}@${flaw.where}` : flaw.where;
    this.#flaws.note({ ...flaw, where });
  };

  get #unmarked(): Expectation {
    return { key: keys.adopted(this.#name), version: 0 };
  }

  /** Those of the digests whose bytes are there. */
  async #found(digests: readonly Digest[]): Promise<(readonly [Digest, ForeignBlob])[]> {
    const found = await Promise.all(digests.map((digest) => this.#layout.blob(digest)));
    return found.flatMap((blob, i) => {
      const digest = digests[i];
      if (isFlaw(blob)) this.#note(blob);
      else if (digest !== undefined) return [[digest, blob] as const];
      return [];
    });
  }

  async #read(
    digest: Digest,
  ): Promise<{ readonly manifest?: Manifest; readonly blob?: ForeignBlob; readonly flaw?: Flaw }> {
    const blob = await this.#layout.blob(digest);
    if (isFlaw(blob)) return { flaw: blob };
    if (blob.size > MANIFEST_BYTES_MAX) {
      return { flaw: { kind: "manifest too large", where: digest, reason: `${blob.size} bytes` } };
    }
    const bytes = await this.#ctx.blobs.read(blob.locator, blob.size);
    if (bytes === undefined) return { flaw: { kind: "bytes missing", where: digest } };
    if (!isDigestOf(digest, bytes)) {
      return { flaw: { kind: "manifest damaged", where: digest } };
    }
    try {
      return { manifest: parseManifest(bytes, undefined, this.#ctx.options.limits), blob };
    } catch (error) {
      if (!(error instanceof OciError)) throw error;
      const kind = isSchema1(bytes) ? "manifest of schema 1" : "manifest not valid";
      return { flaw: { kind, where: digest, reason: error.message } };
    }
  }

  /** Writes the facts that are new and makes the bytes known; resolves to the number of facts that now hold. */
  async #write(
    facts: readonly Fact[],
    blobs: readonly (readonly [Digest, ForeignBlob])[],
    verified: boolean,
  ): Promise<number> {
    this.#options.signal?.throwIfAborted();
    const { meta } = this.#ctx;
    const fixed = [keys.adopted(this.#name), keys.repository(this.#name)];
    const own = facts.map(({ key }) => key);
    const held = blobs.map(([digest]) => keys.blob(digest));
    await commitPlan(meta, async () => {
      const { entries } = await meta.get([...fixed, ...own, ...held]);
      const [mark, repository] = entries;
      if (mark !== undefined) throw new Adopted();
      const expect: Expectation[] = [this.#unmarked];
      const put: Puts = [];
      for (const [i, [digest, blob]] of blobs.entries()) {
        const entry = entries[fixed.length + own.length + i];
        const record = blobRecord(entry, blob, verified);
        if (record === undefined) continue;
        expect.push(expectation(keys.blob(digest), entry));
        put.push({ key: keys.blob(digest), value: encode(record) });
      }
      const late: Puts = [];
      for (const [i, { key, puts, indexes = [] }] of facts.entries()) {
        const entry = entries[fixed.length + i];
        if (isLive(decode<LinkRecord>(entry)?.value, repository)) continue;
        expect.push(expectation(key, entry));
        put.push(...puts);
        late.push(...indexes);
      }
      if (put.length === 0) return { result: undefined };
      // What is too much for one commit of the store goes ahead.
      const room = Math.max(0, meta.operationsMax - put.length);
      await this.#ahead(late.splice(room));
      return { commit: { expect, put: [...put, ...late] }, result: undefined };
    });
    return facts.length;
  }

  async #ahead(puts: Puts): Promise<void> {
    const { meta } = this.#ctx;
    while (puts.length > 0) {
      const put = puts.splice(0, meta.operationsMax);
      const outcome = await meta.commit({ expect: [this.#unmarked], put });
      if (!outcome.ok) throw new Adopted();
    }
  }

  /** Facts of one commit: none takes more than four records and two expectations. */
  get #width(): number {
    return Math.min(WIDTH, this.#batch);
  }

  get #batch(): number {
    return Math.min(BATCH_MAX, Math.floor(this.#ctx.meta.operationsMax / 4));
  }
}

/** The record for foreign bytes, or `undefined` where the one there is says as much. */
function blobRecord(
  entry: Entry | undefined,
  { locator, size, at }: ForeignBlob,
  verified: boolean,
): BlobRecord | undefined {
  const held = decode<BlobRecord>(entry)?.value;
  if (held !== undefined && (held.verified || !verified)) return undefined;
  return { size, locator, verified, foreign: true, at };
}

function isSchema1(bytes: Uint8Array): boolean {
  try {
    const root: unknown = JSON.parse(new TextDecoder().decode(bytes));
    return (
      typeof root === "object" &&
      root !== null &&
      "schemaVersion" in root &&
      root.schemaVersion === 1
    );
  } catch {
    return false;
  }
}
