/** Who a request comes from: the connection's other end, or what a proxy that we trust says. */
import { BlockList, isIP } from "node:net";
import type { Config } from "../config/config.ts";
import type { Peer } from "./server.ts";

export type ClientAddress = (peer: Peer, headers: Request["headers"]) => string | undefined;

/** `X-Forwarded-For` counts only from a configured proxy; the rightmost address that is none of ours is the client. */
export function clientAddressReader({
  trustedProxies,
}: Pick<Config, "trustedProxies">): ClientAddress {
  if (trustedProxies.length === 0) return (peer) => peer.address;
  const trusted = new BlockList();
  for (const { address, prefix, family } of trustedProxies)
    trusted.addSubnet(address, prefix, family);
  const isTrusted = (address: string): boolean => {
    const version = isIP(address);
    return version !== 0 && trusted.check(address, version === 4 ? "ipv4" : "ipv6");
  };
  return ({ address }, headers) => {
    if (address === undefined || !isTrusted(address)) return address;
    const hops = headers.get("x-forwarded-for")?.split(",") ?? [];
    const client = hops
      .map((hop) => hop.trim())
      .reverse()
      .find((hop) => !isTrusted(hop));
    return client !== undefined && isIP(client) !== 0 ? client : address;
  };
}
