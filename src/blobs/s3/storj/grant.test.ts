import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { base58Check, macaroon, makeGrant } from "../../../../test/support/storj-grant.ts";
import { decodeBase58Check } from "./base58.ts";
import { StorjError } from "./error.ts";
import { checkGrant, parseGrant } from "./grant.ts";

/** Grants that Storj's own tests hold (storj/uplink, storj/edge), with the satellites that they say are inside. */
const PUBLISHED = [
  {
    grant:
      "12edqwjdy4fmoHasYrxLzmu8Ubv8Hsateq1LPYne6Jzd64qCsYgET53eJzhB4L2pWDKBpqMowxt8vqLCbYxu8Qz7BJVH1CvvptRt9omm24k5GAq1R99mgGjtmc6yFLqdEFgdevuQwH5yzXCEEtbuBYYgES8Stb1TnuSiU3sa62bd2G88RRgbTCtwYrB8HZ7CLjYWiWUphw7RNa3NfD1TW6aUJ6E5D1F9AM6sP58X3D4H7tokohs2rqCkwRT",
    satellite: "1ds2WEsr2Frv8AFcPkdHfCdUjDrnGpb6y4rpADpX32TXzxg57k@127.0.0.1:44819",
    encrypts: true,
  },
  {
    grant:
      "13J4Upun87ATb3T5T5sDXVeQaCzWFZeF9Ly4ELfxS5hUwTL8APEkwahTEJ1wxZjyErimiDs3kgid33kDLuYPYtwaY7Toy32mCTapfrUB814X13RiA844HPWK3QLKZb9cAoVceTowmNZXWbcUMKNbkMHCURE4hn8ZrdHPE3S86yngjvDxwKmarfGx",
    satellite: "1SYXsAycDPUu4z2ZksJD5fh5nTDcH3vCFHnpcVye5XuL1NrYV@s",
    encrypts: false,
  },
];

const NOW = Date.UTC(2026, 10, 21, 12);
const HOUR = 3_600_000;
const use = { bucket: "images", prefix: "", now: NOW };

function problem(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof StorjError) return error.message;
    throw error;
  }
  return "";
}

const check = (written: string, at = use): string =>
  problem(() => checkGrant(parseGrant(written), at));

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

describe("reading", () => {
  test.each(PUBLISHED)("a grant that Storj published: $satellite", ({ grant, ...rest }) => {
    expect(parseGrant(` ${grant}\n`)).toMatchObject({
      ...rest,
      text: grant,
      permissions: { read: true, write: true, list: true, delete: true },
      expires: undefined,
      allowed: [],
    });
  });

  test("base58check vectors of storj/common, other versions too", () => {
    for (const [text, content] of [
      ["3MNQE1X", ""],
      ["B4CmeGAC", "1"],
      ["K2RYDcKfupxwXdWhSAxQPCeiULntKm63UXyx5MvEH2", "abcdefghijklmnopqrstuvwxyz"],
    ] as const) {
      expect(decodeBase58Check(text)).toEqual({ version: 20, bytes: bytes(content) });
      expect(base58Check(20, bytes(content))).toBe(text);
    }
    expect(decodeBase58Check("3MNQE1Y")).toEqual({ bad: "checksum" });
    expect(decodeBase58Check("xxxx")).toEqual({ bad: "checksum" });
    expect(decodeBase58Check("")).toEqual({ bad: "checksum" });
  });

  test("caveats add up: rights shrink, the earliest end and the latest start count", () => {
    const grant = parseGrant(
      makeGrant({
        caveats: [
          { disallow: ["deletes"], notAfter: NOW + 5 * HOUR, notBefore: NOW - 3 * HOUR },
          { disallow: ["lists"], notAfter: NOW + HOUR + 250, notBefore: NOW - HOUR },
        ],
      }),
    );
    expect(grant.permissions).toEqual({ read: true, write: true, list: false, delete: false });
    expect(grant.expires).toBe(NOW + HOUR + 250);
    expect(grant.startsAt).toBe(NOW - HOUR);
  });

  test("fields that are not known are passed over", () => {
    const known = parseGrant(makeGrant());
    const extra = Uint8Array.of(0x78, 5, 0x81, 1, 1, 2, 3, 4, 5, 6, 7, 8, 0x8d, 1, 1, 2, 3, 4);
    expect(parseGrant(makeGrant({ extra }))).toEqual({
      ...known,
      text: expect.any(String) as string,
    });
  });
});

describe("refused as no grant", () => {
  const NO_GRANT = "storage.storj.accessGrant is not a Storj access grant: ";
  const REMEDY =
    "; write the whole grant as Storj shows it, not an API key, a passphrase or an S3 key";
  test.each([
    ["a wrong character", "13J4Upun87ATb3T5T5sDXVeQ0CzW", "character 25 is none that a grant has"],
    [
      "a line break within",
      `${makeGrant().slice(0, 20)}\n${makeGrant().slice(20)}`,
      "character 21",
    ],
    ["far too long", "1".repeat(5000), "it has 5000 characters, a grant has at most 4000"],
    ["another version", makeGrant({ version: 1 }), "it has version 1 instead of 0"],
    ["an API key", base58Check(0, macaroon([])), "a field has no valid number"],
    ["no satellite", makeGrant({ satellite: "" }), "it names no satellite"],
    ["a short key", makeGrant({ encryptionKey: new Uint8Array(16) }), "has not 32 bytes"],
    ["a torn API key", makeGrant({ apiKey: macaroon([]).slice(0, -1) }), "it ends too early"],
    ["no API key", makeGrant({ apiKey: new Uint8Array() }), "it ends too early"],
    [
      "a future API key",
      makeGrant({ apiKey: Uint8Array.from(macaroon([]), (byte, i) => (i === 0 ? 3 : byte)) }),
      "its API key has an unknown version",
    ],
    ["nothing inside", base58Check(0, []), "it names no satellite"],
  ])("%s", (_, written, why) => {
    const said = problem(() => parseGrant(written));
    expect(said).toStartWith(NO_GRANT);
    expect(said).toContain(why);
    expect(said).toEndWith(REMEDY);
  });

  test("empty", () => {
    expect(problem(() => parseGrant(" \n"))).toBe(
      "storage.storj.accessGrant is empty: write the access grant there",
    );
  });

  test("cut or mistyped: the checksum tells", () => {
    const whole = makeGrant();
    for (const copy of [whole.slice(0, -1), whole.slice(1), whole.slice(0, 40), "1111"])
      expect(problem(() => parseGrant(copy))).toBe(
        "storage.storj.accessGrant has a wrong checksum: it was changed or cut when it was copied; copy the whole grant again",
      );
  });
});

describe("refused for this registry", () => {
  test.each([
    ["read-only", { disallow: ["writes", "deletes"] }, "does not allow to write and to delete: "],
    ["no listing", { disallow: ["lists"] }, "does not allow to list: create one that may read,"],
    ["expired", { notAfter: NOW - HOUR }, "expired at 2026-11-21T11:00:00.000Z and it is 2026-"],
    ["about to expire", { notAfter: NOW + 30_000 }, "expires at 2026-11-21T12:00:30.000Z"],
    ["not yet valid", { notBefore: NOW + HOUR }, "is valid from 2026-11-21T13:00:00.000Z on"],
    ["short-lived objects", { objectLife: 3600 }, "limits the life of what is stored with it"],
    [
      "another bucket",
      { paths: [{ bucket: "backups", prefix: new Uint8Array() }] },
      'covers the bucket "backups" and not "images": set storage.storj.bucket to it, or create',
    ],
  ] as const)("%s", (_, caveat, why) => {
    expect(check(makeGrant({ caveats: [caveat] }))).toContain(`storage.storj.accessGrant ${why}`);
  });

  test("without an encryption key", () => {
    expect(check(makeGrant({ encryptionKey: new Uint8Array() }))).toContain("no encryption key");
  });

  test("a grant without restrictions, and one that has time left, pass", () => {
    expect(check(makeGrant())).toBe("");
    expect(check(makeGrant({ caveats: [{ notAfter: NOW + 2 * HOUR }] }))).toBe("");
  });

  test("buckets must be in every list", () => {
    const paths = (...buckets: string[]) => ({
      paths: buckets.map((bucket) => ({ bucket, prefix: new Uint8Array() })),
    });
    expect(check(makeGrant({ caveats: [paths("a", "images"), paths("images", "b")] }))).toBe("");
    expect(check(makeGrant({ caveats: [paths("a", "images"), paths("b")] }))).toContain('"b" and');
  });
});

describe("prefixes", () => {
  const below = (prefix: string) => ({ ...use, prefix });

  test("that the grant names in plain (keys not encrypted)", () => {
    const paths = [{ bucket: "images", prefix: bytes("team/registry") }];
    const grant = makeGrant({ pathCipher: 1, caveats: [{ paths }] });
    expect(check(grant, below("team/registry/"))).toBe("");
    expect(check(grant, below("team/registry/eu/"))).toBe("");
    expect(check(grant, below("team/registry2/"))).toContain("set storage.storj.prefix to it");
    expect(check(grant, below("team/"))).toContain(
      'only what is below "team/registry" in "images"',
    );
    expect(check(grant, below(""))).toContain('below "team/registry"');
  });

  test("that are encrypted, and told by the keys that came with them", () => {
    const encrypted = Uint8Array.of(2, 200, 31, 7);
    const grant = makeGrant({
      caveats: [{ paths: [{ bucket: "images", prefix: encrypted }] }],
      entries: [{ bucket: "images", plain: "team", encrypted }],
    });
    expect(parseGrant(grant).allowed).toEqual([[{ bucket: "images", prefix: "team" }]]);
    expect(check(grant, below("team/"))).toBe("");
    expect(check(grant, below("other/"))).toContain('below "team"');
  });

  test("that cannot be told are left to the satellite", () => {
    const paths = [{ bucket: "images", prefix: Uint8Array.of(2, 200) }];
    expect(check(makeGrant({ caveats: [{ paths }] }), below("any/"))).toBe("");
  });
});

describe("whatever is written", () => {
  const grants = fc
    .record({
      satellite: fc.string({ minLength: 1, maxLength: 60, unit: "grapheme-ascii" }),
      pathCipher: fc.integer({ min: 0, max: 4 }),
      caveats: fc.array(
        fc.record(
          {
            disallow: fc.uniqueArray(
              fc.constantFrom("reads" as const, "writes" as const, "lists" as const),
            ),
            paths: fc.array(
              fc.record({ bucket: fc.string({ maxLength: 9 }), prefix: fc.uint8Array() }),
              { maxLength: 3 },
            ),
            notAfter: fc.integer({ min: -8e12, max: 8e12 }),
            objectLife: fc.nat(),
          },
          { requiredKeys: [] },
        ),
        { maxLength: 3 },
      ),
    })
    .map((parts) => ({ parts, written: makeGrant(parts) }));

  test("a grant that was made is read back", () => {
    fc.assert(
      fc.property(grants, ({ parts, written }) => {
        const grant = parseGrant(written);
        expect(grant.satellite).toBe(parts.satellite);
        const ends = parts.caveats.flatMap((caveat) => caveat.notAfter ?? []);
        expect(grant.expires).toBe(ends.length === 0 ? undefined : Math.min(...ends));
        const disallowed = new Set(parts.caveats.flatMap((caveat) => caveat.disallow ?? []));
        expect(grant.permissions).toEqual({
          read: !disallowed.has("reads"),
          write: !disallowed.has("writes"),
          list: !disallowed.has("lists"),
          delete: true,
        });
        const restricting = parts.caveats.filter((caveat) => (caveat.paths ?? []).length > 0);
        expect(grant.allowed.map((places) => places.map((place) => place.bucket))).toEqual(
          restricting.map((caveat) => (caveat.paths ?? []).map((path) => path.bucket)),
        );
      }),
    );
  });

  test("a changed letter, a missing or doubled run is noticed", () => {
    fc.assert(
      fc.property(grants, fc.nat(), fc.nat(), fc.string({ maxLength: 4 }), (made, at, cut, put) => {
        const start = at % made.written.length;
        const changed = made.written.slice(0, start) + put + made.written.slice(start + (cut % 5));
        if (changed.trim() === made.written) return;
        expect(problem(() => parseGrant(changed))).not.toBe("");
      }),
    );
  });

  test("any bytes with a right checksum are refused in words, or read and checked", () => {
    const damaged = fc
      .tuple(grants, fc.nat(), fc.uint8Array({ maxLength: 3 }), fc.nat({ max: 3 }))
      .map(([made, at, put, cut]) => {
        const decoded = decodeBase58Check(made.written);
        const content = "bytes" in decoded ? [...decoded.bytes] : [];
        content.splice(at % content.length, cut, ...put);
        return content;
      });
    fc.assert(
      fc.property(fc.oneof(damaged, fc.uint8Array({ maxLength: 200 })), (content) => {
        // `problem` lets nothing pass but a `StorjError`.
        check(base58Check(0, content));
      }),
      { numRuns: 2000 },
    );
  });
});
