import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import { ALGORITHMS } from "../oci/digest.ts";
import { parseName, type RepositoryName } from "../oci/name.ts";
import { mintSessionId, readSessionId } from "./session.ts";

function named(text: string): RepositoryName {
  const name = parseName(text);
  if (name === undefined) throw new Error(`${text} is no name`);
  return name;
}

const SECRET = new Uint8Array(32).fill(7);
const ALICE = { repository: named("a/b"), subject: "user:alice" };
const BASE64URL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const said = fc.record({
  algorithm: fc.constantFrom(...ALGORITHMS),
  openedAt: fc.nat({ max: 2 ** 48 - 1 }),
});

describe("a session's id", () => {
  test("says what was put in, and is fit for a path and a tag", () => {
    fc.assert(
      fc.property(said, fc.string({ unit: "grapheme" }), (said, subject) => {
        const owner = { ...ALICE, subject };
        const id = mintSessionId(SECRET, owner, said);
        expect(id).toMatch(/^[A-Za-z0-9_-]{43}$/);
        expect(readSessionId(SECRET, owner, id)).toEqual(said);
      }),
    );
  });

  test("is another one each time", () => {
    const mint = () => mintSessionId(SECRET, ALICE, { algorithm: "sha256", openedAt: 1 });
    expect(new Set(Array.from({ length: 1000 }, mint)).size).toBe(1000);
  });

  test("belongs to one repository, one subject and one installation", () => {
    const id = mintSessionId(SECRET, ALICE, { algorithm: "sha256", openedAt: 1 });
    for (const owner of [
      { ...ALICE, repository: named("a/c") },
      { ...ALICE, repository: named("a") },
      { ...ALICE, subject: "user:bob" },
      { ...ALICE, subject: "" },
      { ...ALICE, subject: "user:alice\0" },
    ]) {
      expect(readSessionId(SECRET, owner, id)).toBeUndefined();
    }
    expect(readSessionId(new Uint8Array(32).fill(8), ALICE, id)).toBeUndefined();
  });

  test("keeps its repository and its subject apart", () => {
    const id = mintSessionId(
      SECRET,
      { repository: named("a"), subject: "b" },
      { algorithm: "sha256", openedAt: 1 },
    );
    expect(readSessionId(SECRET, { repository: named("ab"), subject: "" }, id)).toBeUndefined();
  });

  test("with any one character changed is none", () => {
    fc.assert(
      fc.property(
        said,
        fc.nat(42),
        fc.constantFrom(...Array.from(BASE64URL)),
        (said, at, other) => {
          const id = mintSessionId(SECRET, ALICE, said);
          const changed = id.slice(0, at) + other + id.slice(at + 1);
          fc.pre(changed !== id);
          expect(readSessionId(SECRET, ALICE, changed)).toBeUndefined();
        },
      ),
      { numRuns: 1000 },
    );
  });

  test.each([
    "",
    "..",
    "../../etc/passwd",
    "..%2F..",
    "a\0",
    "A".repeat(42),
    "A".repeat(43),
    "A".repeat(44),
    "=".repeat(43),
    "A".repeat(1e6),
  ])("is not %.50j", (id) => expect(readSessionId(SECRET, ALICE, id)).toBeUndefined());

  test("is never thrown at, whatever is sent", () => {
    const close = fc.string({
      unit: fc.constantFrom(...Array.from(BASE64URL)),
      minLength: 43,
      maxLength: 43,
    });
    fc.assert(
      fc.property(fc.oneof(close, fc.string({ unit: "binary" })), (id) => {
        expect(readSessionId(SECRET, ALICE, id)).toBeUndefined();
      }),
      { numRuns: 1000 },
    );
  });
});
