/** Walking through a pack, whatever has become of its parts. */
import fs from "node:fs";
import { BLOCK } from "../../base/aligned.ts";
import type { Layout } from "./layout.ts";
import { packPath } from "./layout.ts";
import { codeOf } from "./errors.ts";
import { decodeHeader, HEADER, isWhole, recordBytes, type PackedBlob } from "./pack-record.ts";

const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = fs.constants;
/** Bytes read at once: many times the largest record. */
const WINDOW = 1 << 20;

export interface FoundRecord extends PackedBlob {
  readonly block: number;
}

/** The whole records from a block on, in order; none where there is no such pack. */
export async function* recordsOf(
  layout: Layout,
  pack: string,
  from: number,
): AsyncGenerator<FoundRecord, void, void> {
  const file = await openPlain(layout.path(packPath(pack)));
  if (file === undefined) return;
  try {
    const window = Buffer.alloc(WINDOW);
    for (let at = from * BLOCK; ;) {
      const length = await fill(file, window, at);
      const { records, next } = recordsIn(window.subarray(0, length), pack, at / BLOCK);
      yield* records;
      if (length < WINDOW) return;
      at += next;
    }
  } finally {
    await file.close();
  }
}

/** The records within a window that begins at a block, and where the next window has to begin to see the rest. */
function recordsIn(
  window: Buffer,
  pack: string,
  first: number,
): { readonly records: FoundRecord[]; readonly next: number } {
  const records: FoundRecord[] = [];
  let at = 0;
  while (at < window.byteLength) {
    const block = first + at / BLOCK;
    const rest = window.subarray(at);
    const header = decodeHeader(rest, pack, block);
    const isCut = header !== undefined && rest.byteLength < HEADER + header.size;
    // Cut by the window, unless it begins it: then by the end of the file.
    if (isCut && at > 0) break;
    const isRecord = header !== undefined && isWhole(rest, header.size);
    if (isRecord) records.push({ ...header, block });
    at += isRecord ? recordBytes(header.size) : BLOCK;
  }
  return { records, next: at };
}

async function openPlain(path: string): Promise<fs.promises.FileHandle | undefined> {
  try {
    const file = await fs.promises.open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
    if ((await file.stat()).isFile()) return file;
    await file.close();
    return undefined;
  } catch (error) {
    if (codeOf(error) === "ENOENT" || codeOf(error) === "ELOOP") return undefined;
    throw error;
  }
}

/** Fills the window from a position on; fewer bytes only at the file's end. */
async function fill(
  file: fs.promises.FileHandle,
  window: Buffer,
  position: number,
): Promise<number> {
  let done = 0;
  while (done < window.byteLength) {
    const { bytesRead } = await file.read(window, done, window.byteLength - done, position + done);
    if (bytesRead === 0) break;
    done += bytesRead;
  }
  return done;
}
