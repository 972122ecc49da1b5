/**
 * An upload that this process holds by its note. Its bytes go out in parts while they come in. Whoever holds it
 * first leaves all bytes in one object, so that the usual end without further bytes only has to mark it; once a
 * later holder has added more, parts and rests are left, with the state of the hash.
 */
import { algorithmOf, makeDigest, type Algorithm, type Digest } from "../../oci/digest.ts";
import {
  DigestMismatch,
  type BlobUpload,
  type Locator,
  type StoredBlob,
  type UploadProgress,
} from "../port.ts";
import type { S3Client } from "./client.ts";
import { S3Failure } from "./errors.ts";
import { removeState, removeTurn } from "./leftovers.ts";
import { dataKey, largeLocator, restKey, smallLocator } from "./names.ts";
import { Parts } from "./parts.ts";
import { ResumableHash } from "./resumable-hash.ts";
import {
  HoldLost,
  type HeldNote,
  type PiecedBytes,
  type Turn,
  type UploadState,
} from "./upload-notes.ts";

/** More rests than these become one, so that the note stays small whatever the chunks. */
const RESTS_MAX = 64;
const NO_BYTES = new Uint8Array(0);

interface Hash {
  update(bytes: Uint8Array): void;
  digest(): Digest;
}

/** Where this holder's bytes go. */
interface Work {
  readonly parts: Parts;
  readonly hash: Hash;
}

export class S3Upload implements BlobUpload {
  readonly #client: S3Client;
  readonly #note: HeldNote;
  readonly #before: UploadState | undefined;
  /** Of the hash that runs along. */
  readonly #algorithm: Algorithm;
  #turn: Turn;
  #size: number;
  #work: Promise<Work> | undefined;
  /** The writes under way, one after the other. Never rejects. */
  #tail: Promise<void> = Promise.resolve();
  #failure: Error | undefined;
  /** A name that no other holder can have written. */
  #placed: Locator | undefined;
  #hasEnded = false;

  constructor(client: S3Client, note: HeldNote, turn: Turn, algorithm: Algorithm) {
    this.#client = client;
    this.#note = note;
    this.#before = note.state;
    this.#turn = turn;
    this.#size = note.state?.size ?? 0;
    this.#algorithm = note.state ? algorithmOf(note.state.digest) : algorithm;
  }

  /** A failure to send leaves what earlier holders left, if that is still there. */
  get size(): number {
    if (this.#isLost) return 0;
    return this.#failure ? (this.#before?.size ?? 0) : this.#size;
  }

  /** Whether the store has lost what earlier holders left. */
  get #isLost(): boolean {
    return this.#failure instanceof S3Failure && this.#failure.isLoss;
  }

  async write(chunk: Uint8Array<ArrayBuffer>): Promise<void> {
    this.#assertHeld();
    if (this.#failure) throw this.#failure;
    if (chunk.byteLength === 0) return;
    this.#size += chunk.byteLength;
    const taking = this.#tail.then(() => this.#take(chunk));
    this.#tail = taking.catch((error: unknown) => this.#fail(error));
    await taking;
  }

  async suspend(note?: (progress: UploadProgress) => Promise<void>): Promise<UploadProgress> {
    await this.#end();
    let state: UploadState | undefined;
    try {
      if (this.#failure && this.#isLost) throw this.#failure;
      state = this.#failure ? this.#before : await this.#leave();
    } catch (error) {
      this.#fail(error);
      await (this.#isLost ? this.#remove() : this.#giveUp());
      throw error;
    }
    const progress = state
      ? { size: state.size, digest: state.digest, proof: state.proof }
      : { size: 0, digest: hashed(this.#algorithm, NO_BYTES), proof: this.#turn.stem };
    try {
      await note?.(progress);
    } finally {
      await this.#letGo(state);
    }
    if (this.#failure) void this.#forgetTurn();
    else await this.#forgetRests(state);
    return progress;
  }

  async commit(digest: Digest): Promise<StoredBlob> {
    await this.#end();
    try {
      if (this.#failure) throw this.#failure;
      const known = await this.#digest(algorithmOf(digest));
      if (known !== undefined && known !== digest) throw new DigestMismatch(digest, known);
      const locator = await this.#place(digest, known !== undefined);
      await this.#note.end();
      await Promise.all([this.#forgetRests(undefined), this.#forgetSpent()]);
      return { locator, size: this.#size };
    } catch (error) {
      this.#fail(error);
      if (error instanceof DigestMismatch || this.#isLost) await this.#remove();
      else await this.#giveUp();
      throw error;
    }
  }

  async abort(): Promise<void> {
    await this.#end();
    await this.#remove();
  }

  async #take(chunk: Uint8Array<ArrayBuffer>): Promise<void> {
    if (this.#failure) throw this.#failure;
    const { parts, hash } = await (this.#work ??= this.#begin());
    hash.update(chunk);
    await parts.add(chunk);
  }

  /** Goes on where the holder before has stopped. */
  async #begin(): Promise<Work> {
    const bytes = this.#before?.bytes;
    const parts = new Parts({
      client: this.#client,
      stem: this.#turn.stem,
      before: bytes && "rests" in bytes ? bytes : undefined,
      noteMultipart: async (multipart) => {
        this.#turn = { ...this.#turn, multipart };
        await this.#note.save(this.#turn);
      },
    });
    if (bytes === undefined) return { parts, hash: nativeHash(this.#algorithm) };
    if ("rests" in bytes) {
      return { parts, hash: ResumableHash.restore(this.#algorithm, bytes.hash) };
    }
    // Parts cannot be added to an object: its bytes are taken in anew, once, with a hash that can be saved.
    const hash = new ResumableHash(this.#algorithm);
    for await (const chunk of await this.#read(bytes.whole, this.#before?.size ?? 0)) {
      hash.update(chunk);
      await parts.add(chunk);
    }
    return { parts, hash };
  }

  /** Makes all bytes durable for a later holder; `undefined` when there are none. */
  async #leave(): Promise<UploadState | undefined> {
    if (this.#work === undefined) return this.#before;
    const { parts, hash } = await this.#work;
    const size = this.#size;
    const { stem } = this.#turn;
    const proof = `${stem} ${size}`;
    if (this.#before === undefined) {
      if (parts.areNone) await this.#client.put(dataKey(stem), await parts.all());
      else await parts.complete(size);
      return { size, digest: hash.digest(), proof, bytes: { whole: stem } };
    }
    if (!(hash instanceof ResumableHash)) throw new Error("a later holder's hash can be saved");
    await parts.drain();
    const isCrowded = parts.rests.length >= RESTS_MAX;
    const gathered = isCrowded ? await parts.all() : parts.gathered();
    if (gathered.byteLength > 0) await this.#client.put(restKey(stem), gathered);
    const added = gathered.byteLength > 0 ? [{ stem, size: gathered.byteLength }] : [];
    const spent = this.#spent;
    const bytes: PiecedBytes = {
      ...parts.noted,
      rests: isCrowded ? added : [...parts.rests, ...added],
      hash: hash.save(),
      ...(spent === undefined ? {} : { spent }),
    };
    return { size, digest: hash.digest(), proof, bytes };
  }

  /** The digest of all bytes where it can be told without reading them again. */
  async #digest(algorithm: Algorithm): Promise<Digest | undefined> {
    if (algorithm !== this.#algorithm) return undefined;
    if (this.#work === undefined) return this.#before?.digest ?? hashed(algorithm, NO_BYTES);
    return (await this.#work).hash.digest();
  }

  /** Makes the bytes a blob. Where their digest `isKnown` no byte is read. */
  async #place(digest: Digest, isKnown: boolean): Promise<Locator> {
    const bytes = this.#before?.bytes;
    if (this.#work === undefined && bytes && "whole" in bytes) {
      return this.#mark(digest, bytes.whole, isKnown);
    }
    const { parts } = await (this.#work ??= this.#begin());
    if (!parts.areNone) {
      await parts.complete(this.#size);
      return this.#mark(digest, parts.stem, isKnown);
    }
    const all = await parts.all();
    if (!isKnown) demandEqual(digest, hashed(algorithmOf(digest), all));
    const locator = smallLocator(digest);
    this.#placed = locator;
    await this.#client.put(locator, all, sha256In(digest));
    return locator;
  }

  async #mark(digest: Digest, stem: string, isKnown: boolean): Promise<Locator> {
    if (!isKnown) {
      const hash = nativeHash(algorithmOf(digest));
      for await (const chunk of await this.#read(stem, this.#size)) hash.update(chunk);
      const actual = hash.digest();
      if (actual !== digest) await this.#client.delete(dataKey(stem));
      demandEqual(digest, actual);
    }
    const locator = largeLocator(digest, this.#size, stem);
    // A marker of bytes that an earlier holder left may be that of somebody who has taken over.
    if (stem === this.#turn.stem) this.#placed = locator;
    await this.#client.put(locator, NO_BYTES);
    return locator;
  }

  async #read(stem: string, size: number): Promise<ReadableStream<Uint8Array<ArrayBuffer>>> {
    const body = await this.#client.open(dataKey(stem), size);
    if (body) return body;
    throw new S3Failure(`upload ${this.#note.id} lost the bytes at ${dataKey(stem)}`, "Gone");
  }

  /** Stem of the object whose bytes were taken in anew. */
  get #spent(): string | undefined {
    const bytes = this.#before?.bytes;
    return bytes && ("whole" in bytes ? bytes.whole : bytes.spent);
  }

  async #end(): Promise<void> {
    this.#assertHeld();
    this.#hasEnded = true;
    await this.#tail;
  }

  /** Removes the upload: the note says so before any of its bytes go. */
  async #remove(): Promise<void> {
    await this.#settle();
    const garbage = this.#before;
    const turn = garbage ? { ...this.#turn, garbage } : this.#turn;
    try {
      if (garbage) await this.#note.save(turn);
      if (garbage) await removeState(this.#client, garbage);
      await this.#abortOwn();
    } catch (error) {
      await this.#note.leave(turn);
      throw error;
    }
    await this.#note.end();
  }

  /** After a failure: what earlier holders left stays, what this one has sent goes. */
  async #giveUp(): Promise<void> {
    await this.#settle();
    try {
      await (this.#before ? this.#note.release(this.#before) : this.#note.end());
    } catch {
      // The failure that led here says more; a hold that is not ours any more needs no giving up.
    }
    void this.#forgetTurn();
  }

  async #letGo(state: UploadState | undefined): Promise<void> {
    try {
      await (state ? this.#note.release(state) : this.#note.end());
    } catch (error) {
      if (error instanceof HoldLost) void this.#forgetTurn();
      throw error;
    }
  }

  async #settle(): Promise<void> {
    const work = await this.#work?.catch(() => undefined);
    await work?.parts.settle();
  }

  async #abortOwn(): Promise<void> {
    const { stem, multipart } = this.#turn;
    if (multipart !== undefined) await this.#client.abortMultipart(dataKey(stem), multipart);
  }

  /**
   * What only this holder knows of; what cannot be removed now is for the purge. Nobody waits for it: a store that has
   * failed would make the client wait once more. Never rejects.
   */
  async #forgetTurn(): Promise<void> {
    if (this.#placed !== undefined) await quietly(this.#client.delete(this.#placed));
    if (this.#work !== undefined) await quietly(removeTurn(this.#client, this.#turn));
  }

  /** Rests that went into parts. */
  async #forgetRests(state: UploadState | undefined): Promise<void> {
    const now = restsOf(state);
    const gone = restsOf(this.#before).filter((stem) => !now.includes(stem));
    await Promise.all(gone.map(async (stem) => quietly(this.#client.delete(restKey(stem)))));
  }

  async #forgetSpent(): Promise<void> {
    const stem = this.#work && this.#spent;
    if (stem !== undefined) await quietly(this.#client.delete(dataKey(stem)));
  }

  #fail(error: unknown): void {
    this.#failure ??= error instanceof Error ? error : new Error(String(error));
  }

  #assertHeld(): void {
    if (this.#hasEnded) throw new Error(`upload ${this.#note.id} has ended`);
  }
}

/** What S3 wants to know of a body is known where the blob's own digest says it. */
export function sha256In(digest: Digest): { readonly sha256?: string } {
  return algorithmOf(digest) === "sha256" ? { sha256: digest.slice("sha256:".length) } : {};
}

function nativeHash(algorithm: Algorithm): Hash {
  const hasher = new Bun.CryptoHasher(algorithm);
  return {
    update: (bytes) => void hasher.update(bytes),
    digest: () => makeDigest(algorithm, hasher.digest("hex")),
  };
}

function hashed(algorithm: Algorithm, bytes: Uint8Array): Digest {
  const hash = nativeHash(algorithm);
  hash.update(bytes);
  return hash.digest();
}

function demandEqual(wanted: Digest, actual: Digest): void {
  if (wanted !== actual) throw new DigestMismatch(wanted, actual);
}

function restsOf(state: UploadState | undefined): string[] {
  return state && "rests" in state.bytes ? state.bytes.rests.map(({ stem }) => stem) : [];
}

async function quietly(work: Promise<unknown>): Promise<void> {
  try {
    await work;
  } catch {
    // Found by the purge.
  }
}
