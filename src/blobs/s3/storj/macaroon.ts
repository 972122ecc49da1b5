/**
 * The macaroon inside an access grant, Storj's API key (storj/common `macaroon/serialize.go`, version 2): sections of
 * packets, each packet a field type, a length and bytes. A caveat only ever takes rights away.
 */
import { Bytes, bytesOf, fields, Malformed, numberOf, type Field } from "./wire.ts";

export interface Caveat {
  readonly disallowReads: boolean;
  readonly disallowWrites: boolean;
  readonly disallowLists: boolean;
  readonly disallowDeletes: boolean;
  /** Where everything must happen; empty where this caveat does not say. */
  readonly allowedPaths: readonly AllowedPath[];
  /** Milliseconds since the epoch. */
  readonly notAfter: number | undefined;
  readonly notBefore: number | undefined;
  /** New objects are deleted by the store itself after a while. */
  readonly objectsExpire: boolean;
}

export interface AllowedPath {
  readonly bucket: string;
  readonly encryptedPrefix: Uint8Array;
}

const VERSION = 2;
const END = 0;
const LOCATION = 1;
const IDENTIFIER = 2;
const VERIFICATION = 4;
const SIGNATURE = 6;
const SIGNATURE_BYTES = 32;
/** Milliseconds since the epoch that a `Date` can show. */
const TIME_MAX = 8.64e15;

interface Packet {
  readonly type: number;
  readonly data: Uint8Array;
}

/** The caveats in the order they were added. Throws `Malformed`. */
export function parseMacaroon(data: Uint8Array): Caveat[] {
  const bytes = new Bytes(data);
  if (bytes.byte() !== VERSION) throw new Malformed("its API key has an unknown version");
  const head = withoutLocation(section(bytes));
  if (head.length !== 1 || head[0]?.type !== IDENTIFIER)
    throw new Malformed("its API key has no head");
  const caveats: Caveat[] = [];
  for (;;) {
    const packets = section(bytes);
    if (packets.length === 0) break;
    const [identifier, verification, ...more] = withoutLocation(packets);
    const known = verification === undefined || verification.type === VERIFICATION;
    if (identifier?.type !== IDENTIFIER || !known || more.length > 0)
      throw new Malformed("its API key has a caveat of an unknown form");
    caveats.push(parseCaveat(identifier.data));
  }
  const signature = packet(bytes);
  if (signature.type !== SIGNATURE || signature.data.length !== SIGNATURE_BYTES)
    throw new Malformed("its API key has no signature");
  return caveats;
}

function packet(bytes: Bytes): Packet {
  const type = bytes.length();
  return { type, data: type === END ? new Uint8Array() : bytes.take(bytes.length()) };
}

/** The packets up to the next end mark; their types rise. */
function section(bytes: Bytes): Packet[] {
  const packets: Packet[] = [];
  for (;;) {
    const next = packet(bytes);
    if (next.type === END) return packets;
    if (next.type <= (packets.at(-1)?.type ?? -1))
      throw new Malformed("the fields of its API key are out of order");
    packets.push(next);
  }
}

function withoutLocation(packets: readonly Packet[]): readonly Packet[] {
  return packets[0]?.type === LOCATION ? packets.slice(1) : packets;
}

/** `Caveat` of storj/common `macaroon/types.proto`. */
function parseCaveat(message: Uint8Array): Caveat {
  const flags = new Set<number>();
  const allowedPaths: AllowedPath[] = [];
  let notAfter: number | undefined;
  let notBefore: number | undefined;
  let objectsExpire = false;
  for (const field of fields(message)) {
    if (field.number <= 4) {
      if (numberOf(field) === 0n) flags.delete(field.number);
      else flags.add(field.number);
    } else if (field.number === 10) allowedPaths.push(parsePath(bytesOf(field)));
    else if (field.number === 20) notAfter = parseTime(field);
    else if (field.number === 21) notBefore = parseTime(field);
    else if (field.number === 22) objectsExpire = [...fields(bytesOf(field))].length > 0;
  }
  return {
    disallowReads: flags.has(1),
    disallowWrites: flags.has(2),
    disallowLists: flags.has(3),
    disallowDeletes: flags.has(4),
    allowedPaths,
    notAfter,
    notBefore,
    objectsExpire,
  };
}

function parsePath(message: Uint8Array): AllowedPath {
  let bucket = "";
  let encryptedPrefix: Uint8Array = new Uint8Array();
  for (const field of fields(message)) {
    if (field.number === 1) bucket = Buffer.from(bytesOf(field)).toString("utf8");
    else if (field.number === 2) encryptedPrefix = bytesOf(field);
  }
  return { bucket, encryptedPrefix };
}

/** `google.protobuf.Timestamp`. */
function parseTime(timestamp: Field): number {
  let seconds = 0n;
  let nanos = 0n;
  for (const field of fields(bytesOf(timestamp))) {
    if (field.number === 1) seconds = numberOf(field);
    else if (field.number === 2) nanos = numberOf(field);
  }
  const time = Number(seconds) * 1000 + Math.floor(Number(nanos) / 1_000_000);
  if (Math.abs(time) > TIME_MAX) throw new Malformed("a date in it is out of range");
  return time;
}
