import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import { parseAddressRange, type AddressRange } from "../config/address-range.ts";
import { clientAddressReader } from "./client-address.ts";

function readerOf(...blocks: string[]) {
  const trustedProxies = blocks.map((block): AddressRange => {
    const parsed = parseAddressRange(block);
    if (!("value" in parsed)) throw new Error(parsed.problem);
    return parsed.value;
  });
  const read = clientAddressReader({ trustedProxies });
  return (address: string | undefined, forwarded?: string) =>
    read(
      { address, setIdle: () => undefined },
      new Headers(forwarded === undefined ? {} : { "X-Forwarded-For": forwarded }),
    );
}

describe("who a request comes from", () => {
  const read = readerOf("10.0.0.0/8", "fd00::/8");

  test("is the other end, where no proxy is trusted, whatever a header says", () => {
    fc.assert(
      fc.property(fc.ipV4(), fc.ipV4(), (address, said) => {
        expect(readerOf()(address, said)).toBe(address);
      }),
    );
    expect(readerOf()(undefined, "1.2.3.4")).toBeUndefined();
  });

  test.each([
    ["192.0.2.1", "1.2.3.4", "192.0.2.1"],
    ["10.1.1.1", undefined, "10.1.1.1"],
    ["10.1.1.1", "1.2.3.4", "1.2.3.4"],
    ["10.1.1.1", "6.6.6.6, 1.2.3.4", "1.2.3.4"],
    ["10.1.1.1", "6.6.6.6,1.2.3.4 , 10.2.2.2,10.3.3.3", "1.2.3.4"],
    ["10.1.1.1", "10.2.2.2", "10.1.1.1"],
    ["fd00::1", "2001:db8::7", "2001:db8::7"],
    ["fd00::1", "1.2.3.4, fd00::2", "1.2.3.4"],
    ["::ffff:10.1.1.1", "1.2.3.4", "1.2.3.4"],
    ["::ffff:192.0.2.1", "1.2.3.4", "::ffff:192.0.2.1"],
    ["10.1.1.1", "1.2.3.4, ::ffff:10.2.2.2", "1.2.3.4"],
    ["10.1.1.1", "", "10.1.1.1"],
    ["10.1.1.1", ",,", "10.1.1.1"],
    ["10.1.1.1", "1.2.3.4, unknown", "10.1.1.1"],
    ["10.1.1.1", "1.2.3.4, 5.6.7.8:99", "10.1.1.1"],
    ["10.1.1.1", "1.2.3.4, 5.6.7.256", "10.1.1.1"],
    [undefined, "1.2.3.4", undefined],
  ])("%p saying %p is %p", (address, said, expected) => {
    expect(read(address, said)).toBe(expected);
  });

  test("is the peer or a whole address from the header, and no header makes it throw", () => {
    const hop = fc.oneof(
      fc.ipV4(),
      fc.ipV6(),
      fc.constantFrom("10.9.9.9", "fd00::9", "", "fe80::1%eth0", "::ffff:1.2.3.4", "[::1]:1"),
      fc.string({ unit: fc.constantFrom(...Array.from("0123456789abcdef.:%[]/ \t")) }),
    );
    fc.assert(
      fc.property(fc.array(hop), (hops) => {
        const found = read("10.1.1.1", hops.join(","));
        expect(["10.1.1.1", ...hops.map((h) => h.trim())]).toContain(found ?? "");
      }),
      { numRuns: 1000 },
    );
  });

  test("is never what stands left of the first stranger", () => {
    const stranger = fc.ipV4().filter((address) => !address.startsWith("10."));
    fc.assert(
      fc.property(fc.array(fc.ipV4()), stranger, fc.array(fc.nat(255)), (forged, client, own) => {
        const hops = [...forged, client, ...own.map((n) => `10.0.0.${n}`)];
        expect(read("10.1.1.1", hops.join(", "))).toBe(client);
      }),
    );
  });
});
