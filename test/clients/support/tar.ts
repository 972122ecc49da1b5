/** A regular file in an archive. */
export interface TarFile {
  readonly path: string;
  readonly bytes: Uint8Array;
  readonly mode?: number;
}

const block = 512;

const octal = (value: number, width: number): string =>
  `${value.toString(8).padStart(width - 1, "0")}\0`;

/** The ustar header of a regular file of `size` bytes; its path has at most 100 characters. */
export function tarHeader(path: string, size: number, mode = 0o644): Uint8Array {
  const header = new Uint8Array(block);
  const put = (text: string, at: number): void => {
    header.set(new TextEncoder().encode(text), at);
  };
  if (path.length > 100) throw new Error(`path too long for ustar: ${path}`);
  put(path, 0);
  put(octal(mode, 8), 100);
  put(octal(0, 8), 108);
  put(octal(0, 8), 116);
  put(octal(size, 12), 124);
  put(octal(0, 12), 136);
  put(" ".repeat(8), 148);
  put("0", 156);
  put("ustar\u000000", 257);
  const sum = header.reduce((total, byte) => total + byte, 0);
  put(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  return header;
}

/** Zero bytes that fill a file of `size` bytes up to the next block. */
export const tarPadding = (size: number): Uint8Array =>
  new Uint8Array((block - (size % block)) % block);

/** The two empty blocks that end an archive. */
export const tarEnd = new Uint8Array(2 * block);

/** A whole archive in memory. */
export function tar(files: readonly TarFile[]): Uint8Array {
  const parts = files.flatMap(({ path, bytes, mode }) => [
    tarHeader(path, bytes.length, mode),
    bytes,
    tarPadding(bytes.length),
  ]);
  return Uint8Array.from(Buffer.concat([...parts, tarEnd]));
}
