/** Memory that may be written to a disk without a copy by the kernel. */
import { ptr } from "bun:ffi";

/** What any disk and file system in use asks of address, offset and length of a direct write, at most. */
export const BLOCK = 4096;

/** `size` bytes that begin at a multiple of `BLOCK` in memory. Must not be transferred or resized. */
export function alignedBytes(size: number): Uint8Array<ArrayBuffer> {
  const room = new Uint8Array(size + BLOCK);
  const skip = (BLOCK - (ptr(room) % BLOCK)) % BLOCK;
  return room.subarray(skip, skip + size);
}

export function alignedDown(offset: number): number {
  return offset - (offset % BLOCK);
}

export function alignedUp(offset: number): number {
  return alignedDown(offset + BLOCK - 1);
}
