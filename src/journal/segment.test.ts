import { expect, test } from "bun:test";
import * as fc from "fast-check";
import type { Change } from "../meta/port.ts";
import { segmentName, parseSegmentName, parseSnapshotName, snapshotName } from "./names.ts";
import { commitLine, decodeSegment, encodeSegment, FORMAT } from "./segment.ts";
import { seal, unseal } from "./sealed.ts";
import { JournalForeign } from "./errors.ts";

const text = fc.string({ unit: "grapheme", maxLength: 20 });
const change: fc.Arbitrary<Change> = fc.record({
  revision: fc.integer({ min: 1, max: 2 ** 50 }),
  changes: fc.array(
    fc.record({ key: text.map((t) => `tag!${t}`), value: fc.option(text, { nil: undefined }) }),
    { minLength: 1, maxLength: 4 },
  ),
});
const header = { installation: "i", writer: "w", after: 3, last: 9, at: 5 };

test("what was encoded is decoded; what was cut is a beginning of it", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(change, { maxLength: 20 }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      async (commits, cut) => {
        const lines = commits.map((one) => commitLine(one, 7)).filter((line) => line !== undefined);
        expect(lines.length).toBe(commits.length);
        const bytes = await encodeSegment(header, lines);
        const decoded = decodeSegment(bytes);
        const expected = commits.map((one) => ({ ...one, at: 7 }));
        expect(decoded?.whole).toBe(true);
        expect(decoded?.commits).toEqual(expected);
        const torn = decodeSegment(bytes.slice(0, Math.floor(cut * bytes.length)));
        if (torn === undefined) return;
        if (cut < 1 && torn.whole) expect(torn.commits).toEqual(expected);
        expect(torn.commits).toEqual(expected.slice(0, torn.commits.length));
      },
    ),
    { numRuns: 300 },
  );
});

test("a changed byte is never believed", async () => {
  const lines = Array.from({ length: 50 }, (_, n) =>
    String(commitLine({ revision: n + 1, changes: [{ key: `tag!${n}`, value: `${n}` }] }, n)),
  );
  const bytes = await encodeSegment(header, lines);
  const whole = JSON.stringify(decodeSegment(bytes)?.commits);
  for (let at = 0; at < bytes.length; at++) {
    const changed = bytes.slice();
    changed[at] = (changed[at] ?? 0) ^ 0x10;
    const decoded = decodeSegment(changed);
    // A few bytes of gzip's header mean nothing.
    if (decoded?.whole) expect(JSON.stringify(decoded.commits)).toBe(whole);
  }
});

test("large objects are sealed like small ones", async () => {
  const lines = Array.from({ length: 20_000 }, (_, n) =>
    JSON.stringify([`key-${n}`, "x".repeat(20)]),
  );
  expect(unseal(await seal({ a: 1 }, lines))).toEqual({ header: { a: 1 }, lines, whole: true });
  expect(unseal(await seal({ a: 1 }, []))).toEqual({ header: { a: 1 }, lines: [], whole: true });
});

test("only what is the journal's is written down", () => {
  const changes = ["upload!x", "secret!uploads", "lease!x", "tag!a!b"].map((key) => ({
    key,
    value: "1",
  }));
  expect(commitLine({ revision: 4, changes }, 9)).toBe('[4,9,[["tag!a!b","1"]]]');
  expect(commitLine({ revision: 4, changes: changes.slice(0, 3) }, 9)).toBeUndefined();
});

test("a form of the future is refused with the remedy", async () => {
  const bytes = await seal({ holdfast: "segment", format: FORMAT + 1 }, []);
  expect(() => decodeSegment(bytes)).toThrow(JournalForeign);
});

test("names say what is covered", () => {
  const name = segmentName(12, 2 ** 52, "node-1_a");
  expect(name).toBe("journal/segments/0000000000000012-4503599627370496.node-1_a");
  expect(parseSegmentName(name)).toEqual({ name, after: 12, last: 2 ** 52 });
  const snapshot = snapshotName(1, 2, "ab");
  expect(parseSnapshotName(snapshot)).toEqual({ name: snapshot, from: 1, through: 2 });
  for (const other of ["journal/segments/x", "journal/segments/", `${name}/x`, "holdfast.json"])
    expect(parseSegmentName(other)).toBeUndefined();
});
