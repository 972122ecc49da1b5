/** The form of a backup: a tar archive (POSIX ustar) of regular files, so that any system can look into one. */

/** Bytes of a header, and what every file is filled up to. */
export const BLOCK = 512;
const NAME_MAX = 100;
/** Eleven octal digits. */
const SIZE_MAX = 8 ** 11 - 1;

export interface TarFile {
  readonly name: string;
  /** Bytes. */
  readonly size: number;
}

/** The header of a file. `at`: milliseconds since the epoch. */
export function tarHeader({ name, size }: TarFile, at: number): Uint8Array<ArrayBuffer> {
  if (!/^[\x21-\x7e]+$/.test(name) || name.length > NAME_MAX || size > SIZE_MAX)
    throw new RangeError(`${name} of ${size} bytes does not fit into a tar archive`);
  const header = Buffer.alloc(BLOCK);
  header.write(name, 0, "ascii");
  header.write(`${octal(0o640, 7)}\0${octal(0, 7)}\0${octal(0, 7)}\0`, 100, "ascii");
  header.write(`${octal(size, 11)}\0${octal(Math.floor(at / 1000), 11)}\0`, 124, "ascii");
  header.write("0", 156, "ascii");
  header.write("ustar\u{0}00", 257, "ascii");
  header.write(`${octal(checksum(header), 6)}\0 `, 148, "ascii");
  return new Uint8Array(header);
}

/** Zeros that follow the bytes of a file of this size. */
export function tarPadding(size: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array((BLOCK - (size % BLOCK)) % BLOCK);
}

/** What stands behind the last file. */
export function tarEnd(): Uint8Array<ArrayBuffer> {
  return new Uint8Array(2 * BLOCK);
}

/** The file that a header announces; `undefined` for anything else. */
export function parseTarHeader(bytes: Uint8Array): TarFile | undefined {
  const header = Buffer.from(bytes);
  if (header.length !== BLOCK || header.toString("ascii", 257, 262) !== "ustar") return undefined;
  const sum = Number.parseInt(header.toString("ascii", 148, 154), 8);
  const size = Number.parseInt(header.toString("ascii", 124, 135), 8);
  if (sum !== checksum(header) || !Number.isSafeInteger(size)) return undefined;
  const [name = ""] = header.toString("ascii", 0, NAME_MAX).split("\0");
  return { name, size };
}

/** With spaces in the place of the checksum itself. */
function checksum(header: Uint8Array): number {
  return header.reduce((sum, byte, at) => sum + (at >= 148 && at < 156 ? 0x20 : byte), 0);
}

function octal(value: number, digits: number): string {
  return value.toString(8).padStart(digits, "0");
}
