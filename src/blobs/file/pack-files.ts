/** The packs of all processes: reading their records, and deleting them. */
import fs from "node:fs";
import { BLOCK } from "../../base/aligned.ts";
import { fdatasync } from "../../base/fsync.ts";
import { tryLock } from "../../base/flock.ts";
import { punchHole } from "../../base/hole.ts";
import { readAt, writeWhole } from "../../base/whole-io.ts";
import { codeOf } from "./errors.ts";
import { type Layout, packPath } from "./layout.ts";
import type { PackPlace } from "./locator.ts";
import { decodeHeader, HEADER, isWhole, recordBytes } from "./pack-record.ts";
import { SMALL } from "./upload.ts";

const { O_RDONLY, O_RDWR, O_NOFOLLOW, O_NONBLOCK } = fs.constants;
/** How opening fails where there is no plain file. */
const NOT_PLAIN = new Set(["ENOENT", "ENOTDIR", "ELOOP", "ENXIO", "EISDIR"]);
const NO_HEADER = new Uint8Array(HEADER);
/** Blocks looked at between two turns of the event loop. */
const BLOCKS_A_TURN = 1000;

export class PackFiles {
  readonly #layout: Layout;
  /** By pack that grows no more, the block before which all records are deleted: they never come back. */
  readonly #deadUntil = new Map<string, number>();

  constructor(layout: Layout) {
    this.#layout = layout;
  }

  /** Size of the blob at a place, or `undefined` where there is none, or a damaged one. */
  stat(place: PackPlace): number | undefined {
    const fd = this.#open(place.pack, O_RDONLY);
    if (fd === undefined) return undefined;
    try {
      const at = place.block * BLOCK;
      const size = sizeOf(readAt(fd, HEADER, at), place);
      return size !== undefined && isWhole(readAt(fd, HEADER + size, at), size) ? size : undefined;
    } finally {
      fs.closeSync(fd);
    }
  }

  /** The blob's bytes, if they are whole and of this size. One read, so that no deletion shows in the middle of them. */
  read(place: PackPlace, size: number): Uint8Array<ArrayBuffer> | undefined {
    const fd = size > SMALL ? undefined : this.#open(place.pack, O_RDONLY);
    if (fd === undefined) return undefined;
    try {
      const record = readAt(fd, HEADER + size, place.block * BLOCK);
      if (sizeOf(record, place) !== size || !isWhole(record, size)) return undefined;
      return new Uint8Array(record.buffer, record.byteOffset + HEADER, size);
    } finally {
      fs.closeSync(fd);
    }
  }

  /** Deletes a record durably and gives its blocks back; removes the pack with its last record. */
  async delete(place: PackPlace): Promise<void> {
    const fd = this.#open(place.pack, O_RDWR);
    // Whoever removed it may not have come to this yet.
    if (fd === undefined) return this.#layout.syncPacks();
    try {
      const at = place.block * BLOCK;
      const size = sizeOf(readAt(fd, HEADER, at), place);
      // A header lies within a sector: it is there, or not, whatever happens meanwhile.
      if (size !== undefined) writeWhole(fd, NO_HEADER, at);
      // Also after another process, which may not have come to this yet.
      await fdatasync(fd);
      if (size !== undefined) punchHole(fd, at, recordBytes(size));
    } finally {
      fs.closeSync(fd);
    }
    await this.removeIfDead(place.pack);
  }

  /** Removes a pack that nobody appends to any more and that has no record left. */
  async removeIfDead(pack: string): Promise<void> {
    const fd = this.#open(pack, O_RDWR);
    if (fd === undefined) return;
    try {
      if (!tryLock(fd, "shared") || !(await this.#isDead(fd, pack))) return;
      fs.rmSync(this.#layout.path(packPath(pack)), { force: true });
      await this.#layout.syncPacks();
      this.#deadUntil.delete(pack);
    } finally {
      fs.closeSync(fd);
    }
  }

  async #isDead(fd: number, pack: string): Promise<boolean> {
    const blocks = Math.ceil(fs.fstatSync(fd).size / BLOCK);
    let block = this.#deadUntil.get(pack) ?? 0;
    for (let turn = 1; block < blocks; block++, turn++) {
      if (decodeHeader(readAt(fd, HEADER, block * BLOCK), pack, block)) break;
      if (turn % BLOCKS_A_TURN === 0) await Bun.sleep(0);
    }
    this.#deadUntil.set(pack, block);
    return block >= blocks;
  }

  /** `undefined` where there is no plain file. */
  #open(pack: string, flags: number): number | undefined {
    let fd: number;
    try {
      fd = fs.openSync(this.#layout.path(packPath(pack)), flags | O_NOFOLLOW | O_NONBLOCK);
    } catch (error) {
      if (NOT_PLAIN.has(codeOf(error) ?? "")) return undefined;
      throw error;
    }
    if (fs.fstatSync(fd).isFile()) return fd;
    fs.closeSync(fd);
    return undefined;
  }
}

/** Size of the blob whose record begins so, if it is the one meant. */
function sizeOf(record: Buffer, { pack, block, digest }: PackPlace): number | undefined {
  const header = decodeHeader(record, pack, block);
  return header?.digest === digest ? header.size : undefined;
}
