/** The pack that this process appends to. It never appends to one of another process, or of another time. */
import fs from "node:fs";
import { BLOCK } from "../../base/aligned.ts";
import { close, fdatasync } from "../../base/fsync.ts";
import { tryLock } from "../../base/flock.ts";
import { SharedRun } from "../../base/shared-run.ts";
import { writeWhole } from "../../base/whole-io.ts";
import type { Digest } from "../../oci/digest.ts";
import type { Locator } from "../port.ts";
import { storeError } from "./errors.ts";
import { type Identity, type Layout, packPath } from "./layout.ts";
import { newPackId, packLocator } from "./locator.ts";
import type { PackFiles } from "./pack-files.ts";
import { encodeRecord, HEADER, recordBytes } from "./pack-record.ts";
import { FILE_MODE, SMALL } from "./upload.ts";

/** A pack that has come to this many bytes is followed by a new one. */
export const PACK_BYTES = 64 << 20;
/**
 * Zeros written ahead of the records, more than the largest takes: an fdatasync of bytes that only replace others needs nothing of the file
 * system's journal, which costs a third of its time.
 */
const AHEAD = new Uint8Array(256 << 10);

/** Appends small blobs; puts in flight at the same time share one fdatasync. */
export class PackWriter {
  readonly #layout: Layout;
  readonly #packBytes: number;
  readonly #files: PackFiles;
  #pack: GrowingPack | undefined;
  #opening: Promise<void> | undefined;
  readonly #retiring = new Set<Promise<void>>();

  constructor(layout: Layout, files: PackFiles, packBytes: number) {
    this.#layout = layout;
    this.#files = files;
    this.#packBytes = packBytes;
  }

  /** Stores a blob of at most `SMALL` bytes durably. */
  async put(digest: Digest, bytes: Uint8Array): Promise<Locator> {
    let pack = this.#pack;
    while (pack === undefined || pack.size >= this.#packBytes) {
      await this.#next(pack);
      pack = this.#pack;
    }
    const locator = pack.append(digest, bytes);
    try {
      await pack.sync();
    } catch (error) {
      if (this.#pack === pack) this.#leave(pack);
      throw error;
    }
    return locator;
  }

  /** Waits for puts under way. */
  async close(): Promise<void> {
    await this.#opening?.catch(() => undefined);
    if (this.#pack !== undefined) this.#leave(this.#pack);
    await Promise.all(this.#retiring);
  }

  async #next(full: GrowingPack | undefined): Promise<void> {
    this.#opening ??= this.#open(full).finally(() => (this.#opening = undefined));
    return this.#opening;
  }

  async #open(full: GrowingPack | undefined): Promise<void> {
    const pack = await GrowingPack.create(this.#layout);
    if (full !== undefined && this.#pack === full) this.#leave(full);
    this.#pack = pack;
  }

  #leave(pack: GrowingPack): void {
    this.#pack = undefined;
    const retiring = this.#retire(pack).finally(() => this.#retiring.delete(retiring));
    this.#retiring.add(retiring);
  }

  async #retire(pack: GrowingPack): Promise<void> {
    try {
      await pack.end();
      await this.#files.removeIfDead(pack.id);
    } catch {
      // Its records are durable or were never promised; what could not be tidied is only room.
    }
  }
}

class GrowingPack {
  readonly id: string;
  readonly #fd: number;
  readonly #layout: Layout;
  readonly #synced: SharedRun;
  readonly #scratch = Buffer.alloc(HEADER + SMALL);
  #blocks = 0;
  /** Bytes of the file that are written, if only with zeros. */
  #written = 0;
  /** Blocks known to be durable: only their records were ever answered for. */
  #durable = 0;
  #failure: Error | undefined;

  private constructor(layout: Layout, id: string, fd: number) {
    this.#layout = layout;
    this.id = id;
    this.#fd = fd;
    const identity = fs.fstatSync(fd, { bigint: true });
    this.#synced = new SharedRun(async () => this.#sync(identity));
  }

  /** A new pack, locked for as long as it grows, with a durable name. */
  static async create(layout: Layout): Promise<GrowingPack> {
    const id = newPackId();
    const fd = layout.createPack(id, fs.constants.O_RDWR, FILE_MODE);
    try {
      if (!tryLock(fd)) throw new Error(`the new pack ${id} is locked`);
      await layout.syncPacks();
      return new GrowingPack(layout, id, fd);
    } catch (error) {
      fs.rmSync(layout.path(packPath(id)), { force: true });
      fs.closeSync(fd);
      throw error;
    }
  }

  /** Bytes, those of the last record's last block included. */
  get size(): number {
    return this.#blocks * BLOCK;
  }

  /** Of a record that cannot be written whole nothing is kept. */
  append(digest: Digest, bytes: Uint8Array): Locator {
    const at = this.size;
    const end = at + recordBytes(bytes.byteLength);
    if (end > this.#written) this.#writeAhead();
    const block = this.#blocks;
    try {
      writeWhole(this.#fd, encodeRecord(this.#scratch, this.id, block, digest, bytes), at);
    } catch (error) {
      this.#cutBack();
      throw error;
    }
    this.#blocks = end / BLOCK;
    this.#written = Math.max(this.#written, end);
    return packLocator({ pack: this.id, block, digest });
  }

  /** Makes all records durable that were appended before the call. */
  sync(): Promise<void> {
    return this.#synced.run();
  }

  /** Ends the growth once nobody waits for it any more. */
  async end(): Promise<void> {
    await this.sync().catch(() => undefined);
    // Nothing is kept of puts that failed.
    if (this.#failure !== undefined) this.#blocks = this.#durable;
    this.#cutBack();
    await close(this.#fd);
  }

  /**
   * After a failed fsync the kernel calls the lost pages clean, and the next one succeeds: once is for ever.
   * A pack that is not at its place any more, moved with its directory or removed, would not be found again.
   */
  async #sync(identity: Identity): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    const blocks = this.#blocks;
    try {
      this.#layout.requireAt(packPath(this.id), identity);
      await fdatasync(this.#fd);
      this.#durable = blocks;
    } catch (error) {
      this.#failure = storeError(error);
      throw this.#failure;
    }
  }

  #writeAhead(): void {
    try {
      this.#written += writeWhole(this.#fd, AHEAD, this.#written);
    } catch {
      // Without room for zeros there may be some for the record; if not, its own write says so.
      this.#cutBack();
    }
  }

  /** Back to the last whole record. */
  #cutBack(): void {
    try {
      fs.ftruncateSync(this.#fd, this.size);
      this.#written = this.size;
    } catch {
      // What is left behind the records is none, and the next one takes its place.
    }
  }
}
