import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import { parseChunkRange, resolveRange, uploadRange, type ByteSpan } from "./range.ts";

const PARTS_MAX = 8;
const resolve = (header: string | null, size: number) => resolveRange(header, size, PARTS_MAX);
const one = (start: number, end: number) => ({ kind: "spans" as const, spans: [{ start, end }] });
const HUGE = "9".repeat(400);

describe("a range of a download", () => {
  test.each([
    ["bytes=0-0", one(0, 0)],
    ["bytes=0-99", one(0, 99)],
    ["bytes=10-19", one(10, 19)],
    ["bytes=99-", one(99, 99)],
    ["bytes=10-", one(10, 99)],
    ["bytes=-1", one(99, 99)],
    ["bytes=-100", one(0, 99)],
    ["bytes=-500", one(0, 99)],
    ["bytes=90-500", one(90, 99)],
    [`bytes=90-${HUGE}`, one(90, 99)],
    [`bytes=-${HUGE}`, one(0, 99)],
    ["bytes=007-0000000000000000000009", one(7, 9)],
    ["Bytes=1-2", one(1, 2)],
    ["bytes= 1-2 ", one(1, 2)],
  ])("%p of 100 bytes", (header, expected) => expect(resolve(header, 100)).toEqual(expected));

  test.each([
    "bytes=100-",
    "bytes=100-200",
    `bytes=${HUGE}-`,
    `bytes=${HUGE}-${HUGE}`,
    "bytes=-0",
    "bytes=5-2",
    "bytes=500-0",
    "bytes=100-,200-300",
  ])("%p of 100 bytes cannot be satisfied", (header) =>
    expect(resolve(header, 100)).toEqual({ kind: "unsatisfiable" }),
  );

  test.each([
    null,
    "",
    "bytes",
    "bytes=",
    "bytes=-",
    "bytes=a-b",
    "bytes=1",
    "bytes=1-2-3",
    "bytes=--1",
    "bytes=+1-2",
    "bytes=1.0-2",
    "bytes=0x1-0x2",
    "bytes=1e1-20",
    "bytes=1-2=3",
    "bytes=1 - 2",
    "bytes=1-2,",
    "bytes=１-２",
    "lines=1-2",
    "bytes 1-2",
    "bytes:1-2",
    "bytes=0-1,x",
  ])("%p means the whole", (header) => expect(resolve(header, 100)).toEqual({ kind: "whole" }));

  test("an empty blob has no part", () => {
    for (const header of ["bytes=0-", "bytes=0-0", "bytes=-1"]) {
      expect(resolve(header, 0)).toEqual({ kind: "unsatisfiable" });
    }
  });

  test("several parts keep their order, and those beyond the end drop out", () => {
    expect(resolve("bytes=50-59, 0-9,-10,100-", 100)).toEqual({
      kind: "spans",
      spans: [
        { start: 50, end: 59 },
        { start: 0, end: 9 },
        { start: 90, end: 99 },
      ],
    });
  });

  test.each([
    "bytes=0-9,5-14",
    "bytes=0-9,9-10",
    "bytes=0-,-1",
    "bytes=20-29,0-99",
    "bytes=1-1,1-1",
  ])("overlapping parts %p mean the whole", (header) =>
    expect(resolve(header, 100)).toEqual({ kind: "whole" }),
  );

  test("more parts than allowed mean the whole, without looking at them", () => {
    const parts = (count: number) =>
      `bytes=${Array.from({ length: count }, (_, i) => `${i * 2}-${i * 2}`).join(",")}`;
    expect(resolve(parts(PARTS_MAX), 100).kind).toBe("spans");
    expect(resolve(parts(PARTS_MAX + 1), 100).kind).toBe("whole");
    expect(resolve(parts(100_000), 1e9).kind).toBe("whole");
  });

  const size = fc.oneof(fc.nat(40), fc.nat({ max: Number.MAX_SAFE_INTEGER }));

  test("every span lies within the content, and no two share a byte", () => {
    const edge = fc.oneof(fc.constant(""), fc.nat(50), fc.bigInt({ min: 0n, max: 10n ** 20n }));
    const parts = fc.array(fc.tuple(edge, edge), { minLength: 1, maxLength: PARTS_MAX });
    fc.assert(
      fc.property(parts, size, (list, size) => {
        const range = resolve(`bytes=${list.map(([a, b]) => `${a}-${b}`).join(",")}`, size);
        if (range.kind !== "spans") return;
        expect(range.spans.length).toBeGreaterThan(0);
        const sorted = [...range.spans].sort((a, b) => a.start - b.start);
        let next = 0;
        for (const { start, end } of sorted) {
          expect(start).toBeGreaterThanOrEqual(next);
          expect(end).toBeGreaterThanOrEqual(start);
          expect(end).toBeLessThan(size);
          next = end + 1;
        }
      }),
      { numRuns: 2000 },
    );
  });

  test("a single part is what a slice of the content shows", () => {
    const edge = fc.option(fc.nat(60), { nil: undefined });
    fc.assert(
      fc.property(edge, edge, fc.nat(50), (a, b, size) => {
        const bytes = Array.from({ length: size }, (_, i) => i);
        const range = resolve(`bytes=${a ?? ""}-${b ?? ""}`, size);
        if (a === undefined && b === undefined) return expect(range.kind).toBe("whole");
        const expected =
          a === undefined
            ? bytes.slice(size - Math.min(b ?? 0, size))
            : bytes.slice(a, b === undefined ? size : b + 1);
        if (range.kind === "spans") {
          const [{ start, end } = { start: -1, end: -1 }] = range.spans;
          return expect(bytes.slice(start, end + 1)).toEqual(expected);
        }
        expect(range.kind).toBe("unsatisfiable");
        return expect(expected).toEqual([]);
      }),
      { numRuns: 2000 },
    );
  });

  test("no header makes it throw", () => {
    const noise = fc.oneof(
      fc.string({ unit: "binary" }),
      fc.string({ unit: fc.constantFrom(...Array.from("bytes=-,0123456789 ")) }),
    );
    fc.assert(
      fc.property(noise, size, (text, size) => {
        resolve(text, size);
        resolve(`bytes=${text}`, size);
      }),
      { numRuns: 2000 },
    );
  });
});

describe("a chunk's range", () => {
  const span = fc
    .tuple(fc.nat({ max: Number.MAX_SAFE_INTEGER }), fc.nat({ max: Number.MAX_SAFE_INTEGER }))
    .map(([a, b]): ByteSpan => ({ start: Math.min(a, b), end: Math.max(a, b) }));

  test("reads back, in the specification's form and in RFC 9110's", () => {
    fc.assert(
      fc.property(span, ({ start, end }) => {
        const expected = { start, end };
        for (const text of [`${start}-${end}`, `bytes ${start}-${end}/*`, ` ${start}-${end}/9 `]) {
          expect(parseChunkRange(text)).toEqual(expected);
        }
      }),
    );
  });

  test.each([
    "",
    "-",
    "1-",
    "-1",
    "2-1",
    "a-b",
    "1-2-3",
    "1-2,3-4",
    "bytes=1-2",
    "bytes */5",
    "1-2/",
    "1-2/x",
    "1 - 2",
    "+1-2",
    "-1-2",
    "1.0-2",
    "0x0-0x1",
    "1-2\n3",
    "0-9007199254740992",
    `0-${HUGE}`,
    `${HUGE}-${HUGE}`,
  ])("is not %j", (text) => expect(parseChunkRange(text)).toBeUndefined());

  test("leading zeros do not matter, however many", () => {
    expect(parseChunkRange(`${"0".repeat(50)}1-${"0".repeat(50)}2`)).toEqual({ start: 1, end: 2 });
  });

  test("no header makes it throw, and none makes a span that is not one", () => {
    const noise = fc.oneof(
      fc.string({ unit: "binary" }),
      fc.string({ unit: fc.constantFrom(...Array.from("bytes -/*0123456789")) }),
    );
    fc.assert(
      fc.property(noise, (text) => {
        const parsed = parseChunkRange(text);
        if (parsed === undefined) return;
        expect(Number.isSafeInteger(parsed.start) && Number.isSafeInteger(parsed.end)).toBe(true);
        expect(parsed.end).toBeGreaterThanOrEqual(parsed.start);
      }),
      { numRuns: 2000 },
    );
  });
});

describe("the range of an upload", () => {
  test("of no bytes is the one that docker can read", () => expect(uploadRange(0)).toBe("0-0"));

  test("ends at its last byte and reads back as a chunk", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }), (size) => {
        expect(parseChunkRange(uploadRange(size))).toEqual({ start: 0, end: size - 1 });
      }),
    );
  });
});
