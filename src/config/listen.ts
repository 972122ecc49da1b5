import { BlockList, isIP, isIPv4, isIPv6 } from "node:net";
import { shown, type Parsed } from "./parsed.ts";

/** Where a server listens. */
export interface ListenAddress {
  /** Host name or IP address without brackets; `""` is every interface, IPv4 and IPv6. */
  readonly host: string;
  /** TCP port, 0–65535; 0 lets the system choose a free one. */
  readonly port: number;
  /** Only this machine can reach it: `localhost`, `127.0.0.0/8` or `::1`. */
  readonly loopback: boolean;
}

const form = /^(?:\[([^\]]*)\]|([^[\]:]*)):(\d+)$/;
const hostName = /^(?!-)[a-z0-9_-]{1,63}(?<!-)(?:\.(?!-)[a-z0-9_-]{1,63}(?<!-))*\.?$/i;
const looksNumeric = /^[\d.]+$/;

/** Reads `:5000`, `127.0.0.1:5000`, `[::1]:5000`, `localhost:5000`. */
export function parseListen(text: string): Parsed<ListenAddress> {
  const match = form.exec(text.trim());
  const [, bracketed, plain = "", digits] = match ?? [];
  const host = (bracketed ?? plain).toLowerCase();
  const port = Number(digits);
  if (match && port > 65_535)
    return { problem: `${shown(text)} has no port from 0 to 65535; write one such as ":5000"` };
  if (!match || !(bracketed === undefined ? isHost(host) : isIPv6(host)))
    return {
      problem: `${shown(text)} is not an address to listen on; write ":5000" for every interface, "127.0.0.1:5000" or "[::1]:5000"`,
    };
  return { value: { host, port, loopback: isLoopback(host) } };
}

function isHost(host: string): boolean {
  if (host === "") return true;
  return looksNumeric.test(host) ? isIPv4(host) : hostName.test(host);
}

const loopback = new BlockList();
loopback.addSubnet("127.0.0.0", 8, "ipv4");
loopback.addAddress("::1", "ipv6");

function isLoopback(host: string): boolean {
  const version = isIP(host);
  if (version === 0) return host === "localhost";
  return loopback.check(host.split("%")[0] ?? "", version === 4 ? "ipv4" : "ipv6");
}

/** The same port of the same host. */
export function isSame(a: ListenAddress, b: ListenAddress): boolean {
  return a.port !== 0 && a.port === b.port && a.host === b.host;
}

/** Not both can be listened on. */
export function collide(a: ListenAddress, b: ListenAddress): boolean {
  return isSame(a, b) || (a.port !== 0 && a.port === b.port && (a.host === "" || b.host === ""));
}

/** Writes an address so that `parseListen` reads it back. */
export function formatListen({ host, port }: ListenAddress): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}
