/** The bits of the protobuf wire format that a grant is made of (protobuf.dev "Encoding"). */

/** The bytes are not what they should be. Caught where a grant is read. */
export class Malformed extends Error {
  override readonly name = "Malformed";
}

/** A field of a message: its number, with a varint as a bigint or its bytes; of fixed-width fields only the number matters. */
export interface Field {
  readonly number: number;
  readonly value: bigint | Uint8Array | undefined;
}

/** Reads numbers and runs of bytes from the front of a buffer; never past its end. */
export class Bytes {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get left(): number {
    return this.#bytes.length - this.#at;
  }

  byte(): number {
    const byte = this.#bytes[this.#at++];
    if (byte === undefined) throw new Malformed("it ends too early");
    return byte;
  }

  take(length: number): Uint8Array {
    if (length > this.left) throw new Malformed("it ends too early");
    return this.#bytes.subarray(this.#at, (this.#at += length));
  }

  /** An unsigned number in groups of 7 bits, the lowest first; at most 64 bits. */
  varint(): bigint {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = this.byte();
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) {
        if (value >= 1n << 64n) break;
        return value;
      }
    }
    throw new Malformed("a number has more than 64 bits");
  }

  /** A varint that counts bytes. */
  length(): number {
    const value = this.varint();
    if (value > 0x7fff_ffffn) throw new Malformed("a length is out of bounds");
    return Number(value);
  }
}

/** The fields of a message in the order written. Throws `Malformed`. */
export function* fields(message: Uint8Array): Generator<Field> {
  const bytes = new Bytes(message);
  while (bytes.left > 0) {
    const tag = bytes.varint();
    const number = Number(tag >> 3n);
    const type = Number(tag & 7n);
    if (number === 0 || number > 0x1fff_ffff) throw new Malformed("a field has no valid number");
    if (type === 0) yield { number, value: bytes.varint() };
    else if (type === 2) yield { number, value: bytes.take(bytes.length()) };
    else if (type === 1 || type === 5) {
      bytes.take(type === 1 ? 8 : 4);
      yield { number, value: undefined };
    } else throw new Malformed(`a field has the unknown type ${type}`);
  }
}

/** The bytes of a field that must be a string, bytes or a message. */
export function bytesOf(field: Field): Uint8Array {
  if (field.value instanceof Uint8Array) return field.value;
  throw new Malformed(`field ${field.number} holds a number where bytes belong`);
}

/** The number of a field that must be a varint, as signed 64 bits. */
export function numberOf(field: Field): bigint {
  if (typeof field.value === "bigint") return BigInt.asIntN(64, field.value);
  throw new Malformed(`field ${field.number} holds bytes where a number belongs`);
}

/** UTF-8 text of a field. */
export function textOf(field: Field): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytesOf(field));
  } catch (error) {
    if (error instanceof Malformed) throw error;
    throw new Malformed(`field ${field.number} is not UTF-8 text`);
  }
}
