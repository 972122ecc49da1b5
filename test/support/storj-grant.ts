/** Access grants as Storj's own tools write them, made up for tests: the counterpart of `src/blobs/s3/storj/grant.ts`. */
import { base58Checksum } from "../../src/blobs/s3/storj/base58.ts";

export interface GrantParts {
  readonly satellite?: string;
  readonly caveats?: readonly CaveatParts[];
  /** Raw key bytes; empty for a grant without one. */
  readonly encryptionKey?: Uint8Array;
  /** 1 = object keys are not encrypted, 2 = AES-GCM. */
  readonly pathCipher?: number;
  readonly entries?: readonly {
    readonly bucket: string;
    readonly plain: string;
    readonly encrypted: Uint8Array;
  }[];
  /** Added to the outer message as it is. */
  readonly extra?: Uint8Array;
  /** Written instead of the API key made from the caveats. */
  readonly apiKey?: Uint8Array;
  /** Version byte in front; grants have 0. */
  readonly version?: number;
}

export interface CaveatParts {
  readonly disallow?: readonly ("reads" | "writes" | "lists" | "deletes")[];
  readonly paths?: readonly { readonly bucket: string; readonly prefix: Uint8Array }[];
  /** Milliseconds since the epoch. */
  readonly notAfter?: number;
  readonly notBefore?: number;
  /** Seconds. */
  readonly objectLife?: number;
}

const ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
const FLAGS = { reads: 1, writes: 2, lists: 3, deletes: 4 } as const;

export function makeGrant(parts: GrantParts = {}): string {
  const key = parts.encryptionKey ?? new Uint8Array(32).fill(7);
  const entries = (parts.entries ?? []).map((entry) =>
    message(2, [
      ...message(1, utf8(entry.bucket)),
      ...message(2, utf8(entry.plain)),
      ...message(3, entry.encrypted),
      ...message(4, new Uint8Array(32).fill(9)),
    ]),
  );
  const encryption = [
    ...(key.length === 0 ? [] : message(1, key)),
    ...entries.flat(),
    ...number(3, BigInt(parts.pathCipher ?? 2)),
  ];
  return base58Check(parts.version ?? 0, [
    ...message(1, utf8(parts.satellite ?? "12SatelliteNodeId@us1.storj.test:7777")),
    ...message(2, parts.apiKey ?? macaroon((parts.caveats ?? []).map(caveat))),
    ...message(3, encryption),
    ...(parts.extra ?? []),
  ]);
}

/** Any bytes with a version and the right checksum. */
export function base58Check(version: number, content: Iterable<number>): string {
  const payload = Uint8Array.of(version, ...content);
  const all = [...payload, ...base58Checksum(payload)];
  let text = "";
  for (let rest = BigInt(`0x${Buffer.from(all).toString("hex")}`); rest > 0n; rest /= 58n)
    text = ALPHABET.charAt(Number(rest % 58n)) + text;
  const zeros = all.findIndex((byte) => byte !== 0);
  return "1".repeat(zeros < 0 ? all.length : zeros) + text;
}

/** A serialized API key with these caveats. */
export function macaroon(caveats: readonly Uint8Array[]): Uint8Array {
  const packet = (type: number, data: Uint8Array): number[] => [
    type,
    ...varint(BigInt(data.length)),
    ...data,
  ];
  return Uint8Array.from([
    2,
    ...packet(2, new Uint8Array(32).fill(1)),
    0,
    ...caveats.flatMap((data) => [...packet(2, data), 0]),
    0,
    ...packet(6, new Uint8Array(32).fill(2)),
  ]);
}

export function caveat(parts: CaveatParts): Uint8Array {
  return Uint8Array.from([
    ...(parts.disallow ?? []).flatMap((what) => number(FLAGS[what], 1n)),
    ...(parts.paths ?? []).flatMap(({ bucket, prefix }) =>
      message(10, [...message(1, utf8(bucket)), ...message(2, prefix)]),
    ),
    ...(parts.notAfter === undefined ? [] : message(20, time(parts.notAfter))),
    ...(parts.notBefore === undefined ? [] : message(21, time(parts.notBefore))),
    ...(parts.objectLife === undefined ? [] : message(22, number(1, BigInt(parts.objectLife)))),
    ...message(30, Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8)),
  ]);
}

function time(ms: number): number[] {
  const seconds = Math.floor(ms / 1000);
  return [...number(1, BigInt(seconds)), ...number(2, BigInt((ms - seconds * 1000) * 1_000_000))];
}

function message(field: number, content: Iterable<number>): number[] {
  const bytes = [...content];
  return [...varint(BigInt(field * 8 + 2)), ...varint(BigInt(bytes.length)), ...bytes];
}

function number(field: number, value: bigint): number[] {
  return [...varint(BigInt(field * 8)), ...varint(BigInt.asUintN(64, value))];
}

function varint(value: bigint): number[] {
  const bytes: number[] = [];
  for (; value >= 128n; value >>= 7n) bytes.push(Number(value & 127n) | 128);
  return [...bytes, Number(value)];
}

function utf8(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
