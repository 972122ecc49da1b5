/** Writes DER (X.690), as much of it as a certificate needs: each function gives the bytes of one whole element. */

export type Der = Buffer;

const CONSTRUCTED = 0x20;
const CONTEXT = 0x80;
/** From this year on a certificate's times are written with four digits of the year (RFC 5280 §4.1.2.5). */
const YEAR_GENERALIZED = 2050;

export function sequence(...members: readonly Der[]): Der {
  return element(0x10 | CONSTRUCTED, ...members);
}

export function set(...members: readonly Der[]): Der {
  return element(0x11 | CONSTRUCTED, ...members);
}

/** `[number] EXPLICIT` around one element. */
export function explicit(number: number, inner: Der): Der {
  return element(CONTEXT | CONSTRUCTED | number, inner);
}

/** `[number] IMPLICIT` of a type that holds no elements. */
export function implicit(number: number, content: Uint8Array): Der {
  return element(CONTEXT | number, content);
}

/** Not negative; big-endian. */
export function integer(bytes: Uint8Array): Der {
  const first = bytes.findIndex((byte) => byte !== 0);
  const digits = first < 0 ? Buffer.of(0) : bytes.subarray(first);
  return element(0x02, ...((digits[0] ?? 0) >= 0x80 ? [Buffer.of(0)] : []), digits);
}

export function boolean(value: boolean): Der {
  return element(0x01, Buffer.of(value ? 0xff : 0));
}

/** The last `unused` bits of `bytes` do not count. */
export function bitString(bytes: Uint8Array, unused = 0): Der {
  return element(0x03, Buffer.of(unused), bytes);
}

export function octetString(bytes: Uint8Array): Der {
  return element(0x04, bytes);
}

export function utf8String(text: string): Der {
  return element(0x0c, Buffer.from(text, "utf8"));
}

/** `dotted` such as `2.5.29.17`. */
export function objectId(dotted: string): Der {
  const [first = 0, second = 0, ...rest] = dotted.split(".").map(Number);
  return element(0x06, Buffer.from([first * 40 + second, ...rest].flatMap(base128)));
}

/** To the second. */
export function time(date: Date): Der {
  const digits = date.toISOString().replace(/\.\d+|[-:T]/g, "");
  const isLong = date.getUTCFullYear() >= YEAR_GENERALIZED;
  return element(isLong ? 0x18 : 0x17, Buffer.from(isLong ? digits : digits.slice(2), "ascii"));
}

function element(tag: number, ...parts: readonly Uint8Array[]): Der {
  const content = Buffer.concat(parts);
  return Buffer.concat([Buffer.of(tag), length(content.byteLength), content]);
}

function length(bytes: number): Buffer {
  if (bytes < 0x80) return Buffer.of(bytes);
  if (bytes < 0x100) return Buffer.of(0x81, bytes);
  if (bytes < 0x10000) return Buffer.of(0x82, bytes >> 8, bytes & 0xff);
  throw new RangeError(`${bytes} bytes are more than an element of a certificate has`);
}

function base128(value: number): number[] {
  const digits = [value & 0x7f];
  for (let rest = value >> 7; rest > 0; rest >>= 7) digits.unshift((rest & 0x7f) | 0x80);
  return digits;
}
