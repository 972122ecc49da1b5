import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import { BlockList } from "node:net";
import { formatAddressRange, parseAddressRange } from "./address-range.ts";
import { formatDuration, parseDuration } from "./duration.ts";
import { formatListen, parseListen } from "./listen.ts";
import { shown } from "./parsed.ts";
import { parsePublicUrl } from "./public-url.ts";
import { parseSize } from "./size.ts";

const longest = fc.nat({ max: Number.MAX_SAFE_INTEGER });

describe("durations", () => {
  test.each([
    ["250ms", 250],
    ["30s", 30_000],
    ["10m", 600_000],
    ["24h", 86_400_000],
    ["7d", 604_800_000],
    ["2h10m", 7_800_000],
    ["1.5h", 5_400_000],
    [" 0s ", 0],
  ])("%p is %p ms", (text, value) => expect(parseDuration(text)).toEqual({ value }));

  test.each(["", "5", "-1s", "1 h", "1w", "1h x", "s", "1e3s", "99999999999999d", "１s"])(
    "%p is refused and says how to write one",
    (text) => expect(parseDuration(text)).toEqual({ problem: expect.stringContaining("24h") }),
  );

  test("what is written is read back", () => {
    fc.assert(
      fc.property(longest, (value) =>
        expect(parseDuration(formatDuration(value))).toEqual({ value }),
      ),
    );
  });

  test("joined parts are their sum", () => {
    fc.assert(
      fc.property(fc.nat(500), fc.nat(500), fc.nat(5000), (h, s, ms) =>
        expect(parseDuration(`${h}h${s}s${ms}ms`)).toEqual({
          value: h * 3_600_000 + s * 1000 + ms,
        }),
      ),
    );
  });
});

describe("sizes", () => {
  test.each([
    [4_194_304, 4_194_304],
    ["4194304", 4_194_304],
    ["4MiB", 4_194_304],
    ["4 MB", 4_000_000],
    ["1.5KiB", 1536],
    ["2gb", 2_000_000_000],
    ["3TiB", 3 * 2 ** 40],
    ["7B", 7],
    ["0", 0],
  ])("%p is %p bytes", (written, value) => expect(parseSize(written)).toEqual({ value }));

  test.each(["", "-1", "4M", "4iB", "MiB", "4 M iB", "0x10", "99999999TiB", -1, Number.NaN, 1e300])(
    "%p is refused and says how to write one",
    (written) => expect(parseSize(written)).toEqual({ problem: expect.stringContaining("4MiB") }),
  );

  test("every whole number is itself, as number and as text", () => {
    fc.assert(
      fc.property(longest, (value) => {
        expect(parseSize(value)).toEqual({ value });
        expect(parseSize(String(value))).toEqual({ value });
      }),
    );
  });

  test("a unit multiplies", () => {
    const unit = fc.constantFrom<[string, number][]>(
      ["KB", 1e3],
      ["KiB", 2 ** 10],
      ["MB", 1e6],
      ["GiB", 2 ** 30],
    );
    fc.assert(
      fc.property(fc.nat(4000), unit, (n, [name, factor]) =>
        expect(parseSize(`${n}${name}`)).toEqual({ value: n * factor }),
      ),
    );
  });
});

describe("addresses to listen on", () => {
  test.each([
    [":5000", "", 5000, false],
    ["127.0.0.1:5000", "127.0.0.1", 5000, true],
    ["127.9.9.9:1", "127.9.9.9", 1, true],
    ["[::1]:5000", "::1", 5000, true],
    ["[0:0:0:0:0:0:0:1]:5000", "0:0:0:0:0:0:0:1", 5000, true],
    ["[::]:5000", "::", 5000, false],
    ["0.0.0.0:65535", "0.0.0.0", 65_535, false],
    ["localhost:0", "localhost", 0, true],
    ["Registry.Example.com:443", "registry.example.com", 443, false],
    ["127.0.0.1.example.com:1", "127.0.0.1.example.com", 1, false],
    ["10.1.2.3:80", "10.1.2.3", 80, false],
  ])("%p", (text, host, port, loopback) =>
    expect(parseListen(text)).toEqual({ value: { host, port, loopback } }),
  );

  test.each([
    "",
    "5000",
    ":",
    ":65536",
    "::1:5000",
    "[::1]",
    "[::1:5000",
    "[localhost]:1",
    "1.2.3:80",
    "256.1.1.1:80",
    "a b:80",
    "-a:80",
    "http://x:80",
    ":5000 :5001",
    "[]:80",
    "x:y",
    "a..b:1",
  ])("%p is refused and says how to write one", (text) =>
    expect(parseListen(text)).toEqual({ problem: expect.stringContaining('":5000"') }),
  );

  test("what is written is read back", () => {
    const host = fc.oneof(fc.ipV4(), fc.ipV6(), fc.domain(), fc.constant(""));
    fc.assert(
      fc.property(host, fc.nat(65_535), (host, port) => {
        const parsed = parseListen(formatListen({ host, port, loopback: false }));
        expect(parsed).toEqual({
          value: { host: host.toLowerCase(), port, loopback: expect.any(Boolean) },
        });
      }),
    );
  });

  test("no text at all makes it throw", () => {
    fc.assert(fc.property(fc.string(), (text) => void parseListen(text)));
  });
});

describe("address blocks", () => {
  test.each([
    ["10.0.0.1", "10.0.0.1", 32, "ipv4"],
    ["10.0.0.0/8", "10.0.0.0", 8, "ipv4"],
    ["fd00::/8", "fd00::", 8, "ipv6"],
    ["::1", "::1", 128, "ipv6"],
    ["0.0.0.0/0", "0.0.0.0", 0, "ipv4"],
  ])("%p", (text, address, prefix, family) =>
    expect(parseAddressRange(text)).toEqual({ value: { address, prefix, family } } as never),
  );

  test.each(["", "10.0.0.0/33", "::/129", "10.0.0.0/", "/8", "x/8", "10.0.0/8", "fe80::1%eth0"])(
    "%p is refused",
    (text) => expect(parseAddressRange(text)).toHaveProperty("problem"),
  );

  test("every block is read back, and is one that BlockList takes and that holds its address", () => {
    const v4 = fc.tuple(fc.ipV4(), fc.nat(32));
    const v6 = fc.tuple(fc.ipV6(), fc.nat(128));
    fc.assert(
      fc.property(fc.oneof(v4, v6), ([address, prefix]) => {
        const parsed = parseAddressRange(`${address}/${prefix}`);
        if ("problem" in parsed) throw new Error(parsed.problem);
        const range = parsed.value;
        expect(parseAddressRange(formatAddressRange(range))).toEqual({ value: range });
        const list = new BlockList();
        list.addSubnet(range.address, range.prefix, range.family);
        expect(list.check(address, range.family)).toBe(true);
      }),
    );
  });
});

describe("public addresses", () => {
  test.each([
    ["https://registry.example.com", "https://registry.example.com"],
    ["https://registry.example.com/", "https://registry.example.com"],
    ["http://10.0.0.1:5000", "http://10.0.0.1:5000"],
  ])("%p is %p", (text, value) => expect(parsePublicUrl(text)).toEqual({ value }));

  test.each([
    "",
    "registry.example.com",
    "ftp://x",
    "https://x/v2",
    "https://x?a=b",
    "https://x#a",
    "https://user:pw@x",
    "localhost:5000",
  ])("%p is refused", (text) => expect(parsePublicUrl(text)).toHaveProperty("problem"));
});

test("a password in an address is not shown", () => {
  expect(JSON.stringify(parsePublicUrl("https://user:hunter2@x"))).not.toContain("hunter2");
});

test("a value in a message is cut", () => {
  fc.assert(fc.property(fc.jsonValue(), (value) => shown(value).length <= 80));
  expect(shown("x".repeat(1000))).toEndWith("…");
});
