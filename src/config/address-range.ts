import { isIP } from "node:net";
import { shown, type Parsed } from "./parsed.ts";

/** A block of IP addresses; its fields are the arguments of `node:net` `BlockList.addSubnet`. */
export interface AddressRange {
  readonly address: string;
  /** Length of the fixed prefix in bits: 0–32 or 0–128. */
  readonly prefix: number;
  readonly family: "ipv4" | "ipv6";
}

const form = /^([^/%]+)(?:\/(\d{1,3}))?$/;

/** Reads `10.0.0.1`, `10.0.0.0/8`, `fd00::/8`; an address alone is a block of one. */
export function parseAddressRange(text: string): Parsed<AddressRange> {
  const [, address = "", bits] = form.exec(text.trim()) ?? [];
  const version = isIP(address);
  const most = version === 4 ? 32 : 128;
  const prefix = bits === undefined ? most : Number(bits);
  if (version === 0 || prefix > most)
    return {
      problem: `${shown(text)} is not an IP address or block; write one such as "10.0.0.1", "10.0.0.0/8" or "fd00::/8"`,
    };
  return { value: { address, prefix, family: version === 4 ? "ipv4" : "ipv6" } };
}

/** Writes a block so that `parseAddressRange` reads it back. */
export function formatAddressRange({ address, prefix }: AddressRange): string {
  return `${address}/${prefix}`;
}
