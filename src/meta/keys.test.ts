import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import { makeDigest, type Digest } from "../oci/digest.ts";
import { parseName, parseTag, type RepositoryName, type Tag } from "../oci/name.ts";
import { isJournaled, keys, lastPart } from "./keys.ts";

const digestOf = (n: number): Digest => makeDigest("sha256", n.toString(16).padStart(64, "0"));
const taken = <T>(value: T | undefined): value is T => value !== undefined;

/** Names that begin alike, which is what a prefix could mix up. */
const name = fc
  .oneof(
    fc.constantFrom("a", "a/b", "a-b", "a.b", "ab", "a_b", "a/b/c", "a0", "a--b", "aa"),
    fc.string({ unit: fc.constantFrom(...Array.from("ab0/-._")), minLength: 1, maxLength: 8 }),
  )
  .map(parseName)
  .filter(taken);
const tag = fc
  .oneof(
    fc.constantFrom("1", "1.0", "1.0.0", "1-0", "10", "1_"),
    fc.string({ unit: fc.constantFrom(...Array.from("01aA.-_")), minLength: 1, maxLength: 5 }),
  )
  .map(parseTag)
  .filter(taken);
const digest = fc.nat(3).map(digestOf);

interface Facts {
  readonly name: RepositoryName;
  readonly tag: Tag;
  readonly digest: Digest;
  readonly other: Digest;
  readonly n: number;
}
const facts: fc.Arbitrary<Facts> = fc.record({ name, tag, digest, other: digest, n: fc.nat(2e9) });

/** Each prefix with the keys it is there to find, and what two facts must share for one to be found by the other. */
const SCANS: readonly (readonly [
  string,
  (f: Facts) => string,
  (f: Facts) => string,
  (f: Facts) => string,
])[] = [
  ["tags", (f) => keys.tags(f.name), (f) => keys.tag(f.name, f.tag), (f) => f.name],
  [
    "histories",
    (f) => keys.histories(f.name, f.tag),
    (f) => keys.history(f.name, f.tag, f.n),
    (f) => `${f.name} ${f.tag}`,
  ],
  [
    "taggeds",
    (f) => keys.taggeds(f.name, f.digest),
    (f) => keys.tagged(f.name, f.digest, f.tag),
    (f) => `${f.name} ${f.digest}`,
  ],
  [
    "manifests",
    (f) => keys.manifests(f.name),
    (f) => keys.manifest(f.name, f.digest),
    (f) => f.name,
  ],
  [
    "referrers",
    (f) => keys.referrers(f.name, f.digest),
    (f) => keys.referrer(f.name, f.digest, f.other),
    (f) => `${f.name} ${f.digest}`,
  ],
  ["links", (f) => keys.links(f.digest), (f) => keys.link(f.digest, f.name), (f) => f.digest],
  [
    "uses",
    (f) => keys.uses(f.name, f.digest),
    (f) => keys.use(f.name, f.digest, f.other),
    (f) => `${f.name} ${f.digest}`,
  ],
  [
    "children",
    (f) => keys.children(f.name, f.digest),
    (f) => keys.child(f.name, f.digest, f.other),
    (f) => `${f.name} ${f.digest}`,
  ],
];

describe("a scan", () => {
  test.each(SCANS)("of %s finds its own keys and no other's", (_, prefix, key, shared) => {
    fc.assert(
      fc.property(facts, facts, (a, b) => {
        expect(key(a).startsWith(prefix(a))).toBe(true);
        expect(key(b).startsWith(prefix(a))).toBe(shared(a) === shared(b));
      }),
      { numRuns: 2000 },
    );
  });

  test("finds no key of another kind", () => {
    const all: readonly ((f: Facts) => string)[] = [
      ...SCANS.map(([, , key]) => key),
      (f) => keys.repository(f.name),
      (f) => keys.keep(f.digest, f.name),
      (f) => keys.blob(f.digest),
      (f) => keys.fence(f.name),
      (f) => keys.upload(f.tag),
      (f) => keys.trash(f.tag),
      (f) => keys.lease(f.tag),
      (f) => keys.adopted(f.name),
      () => keys.schema,
      () => keys.installation,
      () => keys.uploadSecret,
      () => keys.adoption,
    ];
    fc.assert(
      fc.property(facts, facts, (a, b) => {
        for (const [, prefix, own] of SCANS) {
          for (const key of all) {
            if (key !== own) expect(key(b).startsWith(prefix(a))).toBe(false);
          }
        }
        for (const prefix of [keys.repositories, keys.blobs, keys.uploads, keys.adopteds]) {
          expect(all.filter((key) => key(b).startsWith(prefix))).toHaveLength(1);
        }
      }),
    );
  });
});

describe("the order of keys", () => {
  const byBytes = (a: string, b: string) => Buffer.compare(Buffer.from(a), Buffer.from(b));

  test("is that of names, then that of tags", () => {
    fc.assert(
      fc.property(facts, facts, (a, b) => {
        const names = byBytes(keys.repository(a.name), keys.repository(b.name));
        expect(Math.sign(names)).toBe(Math.sign(byBytes(a.name, b.name)));
        const tags = byBytes(keys.tag(a.name, a.tag), keys.tag(a.name, b.tag));
        expect(Math.sign(tags)).toBe(Math.sign(byBytes(a.tag, b.tag)));
      }),
      { numRuns: 1000 },
    );
  });

  test("puts all of a repository before all of those whose names go on", () => {
    const names = ["a", "a-b", "a.b", "a/b", "a0", "a_b", "ab"].map(parseName).filter(taken);
    const sorted = names
      .flatMap((name) =>
        ["0", "z", "_"]
          .map(parseTag)
          .filter(taken)
          .map((tag) => keys.tag(name, tag)),
      )
      .sort(byBytes);
    const runs = sorted.map((key) => key.split("!")[1] ?? "");
    expect(runs.filter((name, i) => name !== runs[i - 1])).toEqual(names);
  });

  test("is that of time in a tag's history", () => {
    fc.assert(
      fc.property(facts, fc.nat(2e9), (f, m) => {
        const order = byBytes(keys.history(f.name, f.tag, f.n), keys.history(f.name, f.tag, m));
        expect(Math.sign(order)).toBe(Math.sign(f.n - m));
      }),
    );
  });

  test("is the same for engines that compare bytes and those that compare characters", () => {
    fc.assert(
      fc.property(facts, (f) => {
        for (const [, , key] of SCANS) expect(key(f)).toMatch(/^[\x21-\x7e]+$/);
      }),
    );
  });
});

test("the last part of a key is what it was made with", () => {
  fc.assert(
    fc.property(facts, (f) => {
      expect(lastPart(keys.tag(f.name, f.tag))).toBe(f.tag);
      expect(lastPart(keys.repository(f.name))).toBe(f.name);
      expect(lastPart(keys.link(f.digest, f.name))).toBe(f.name);
      expect(lastPart(keys.referrer(f.name, f.digest, f.other))).toBe(f.other);
    }),
  );
});

test("the journal keeps the registry's facts, not those of its running nodes, and no secret", () => {
  fc.assert(
    fc.property(facts, (f) => {
      for (const [, , key] of SCANS)
        expect(isJournaled(key(f))).toBe(!key(f).startsWith("upload!"));
    }),
  );
  for (const key of [keys.schema, keys.installation, keys.trash("a!b"), keys.adoption])
    expect(isJournaled(key)).toBe(true);
  for (const key of [
    keys.uploadSecret,
    keys.upload("x"),
    keys.lease("x"),
    keys.alive("x"),
    keys.node("x"),
    keys.healing("x"),
    keys.journal("x"),
    keys.restoring,
    "multipart!x",
    "secret!signing",
  ])
    expect(isJournaled(key)).toBe(false);
});
