import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import { JsonError, parseJson, quote } from "./json.ts";

const DEPTH = 64;
const MIB = 2 ** 20;
const parse = (text: string, depth = DEPTH) => parseJson(new TextEncoder().encode(text), depth);

/**
 * How many times as long a run takes as JSON.parse of 4 MiB of descriptors in the same moment: machines differ,
 * and others work on them. The smallest of three, since a pause can hit either.
 */
function timesOfParse(run: () => void, yardstick = YARDSTICK): number {
  const milliseconds = (work: () => void): number => {
    const started = performance.now();
    work();
    return performance.now() - started;
  };
  const ratios = [0, 1, 2].map(() => {
    const own = milliseconds(run);
    return own / milliseconds(() => void JSON.parse(yardstick));
  });
  return Math.min(...ratios);
}

const YARDSTICK = `[${Array.from({ length: 30_000 }, (_, i) => `{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"sha256:${i.toString(16).padStart(64, "0")}","size":${i}}`).join(",")}]`;

describe("what JSON.parse takes", () => {
  test("is read the same, in any layout", () => {
    const layout = fc.constantFrom<string | number>(0, 1, 4, "\t", "\r\n ");
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 8 }), layout, (value, space) => {
        const text = JSON.stringify(value, undefined, space);
        expect(parse(text)).toEqual(JSON.parse(text));
      }),
      { numRuns: 1000 },
    );
    fc.assert(
      fc.property(fc.json({ stringUnit: "binary" }), (text) => {
        expect(parse(text, 1000)).toEqual(JSON.parse(text));
      }),
    );
  });

  test("is read the same with strings of quotes, backslashes, braces and colons", () => {
    const tricky = fc.string({ unit: fc.constantFrom(...Array.from('"\\{}[]:,/ \n\u0000aé😀')) });
    const value = fc.dictionary(
      tricky,
      fc.oneof(tricky, fc.array(tricky), fc.dictionary(tricky, tricky)),
    );
    fc.assert(
      fc.property(value, (value) => {
        const text = JSON.stringify(value);
        expect(JSON.stringify(parse(text))).toBe(text);
      }),
      { numRuns: 2000 },
    );
  });
});

describe("what JSON.parse refuses", () => {
  test("is refused, and with nothing but JsonError", () => {
    const token = fc.constantFrom(
      ...Array.from("{}[]:,"),
      '"',
      "\\",
      '"a"',
      '"a":',
      "1",
      "-",
      "null",
      " ",
      '"\\u0061"',
      '"\\x"',
      "\u0000",
      "'a'",
    );
    fc.assert(
      fc.property(fc.array(token, { maxLength: 12 }), (tokens) => {
        const text = tokens.join("");
        let value: unknown;
        try {
          value = parse(text);
        } catch (error) {
          return expect(error).toBeInstanceOf(JsonError);
        }
        return expect(value).toEqual(JSON.parse(text));
      }),
      { numRuns: 10_000 },
    );
  });

  test.each([
    "",
    " ",
    "{",
    '{"a"',
    '{"a":1,}',
    "[1,]",
    "01",
    "NaN",
    '"',
    '"\\"',
    '"a\nb"',
    "{} {}",
    "//\n1",
  ])("%j", (text) => expect(() => parse(text)).toThrow(JsonError));
});

describe("keys", () => {
  test.each([
    '{"a":1,"a":1}',
    '{"a":1,"b":2,"a":3}',
    '[{"x":{"a":1,"a":2}}]',
    '{"a":{"a":1},"a":1}',
    '{"a":1,"\\u0061":2}',
    '{"\\u0061":1,"\\u0061":2}',
    '{"a/b":1,"a\\/b":2}',
    '{"\\"":1,"\\u0022":2}',
    '{"é":1,"\\u00e9":2}',
    '{"😀":1,"\\ud83d\\ude00":2}',
    '{"\\ud800":1,"\\uD800":2}',
    '{"":1,"":2}',
    '{"a":1,"a"\n\t :2}',
    '{"__proto__":1,"__proto__":2}',
    '{"a":[{"a":1}],"a":2}',
  ])("%p are refused: one occurs twice", (text) =>
    expect(() => parse(text)).toThrow("occurs twice"),
  );

  test.each([
    '{"a":{"a":{"a":1}}}',
    '[{"a":1},{"a":1}]',
    '{"a":"a","b":"a"}',
    '{"a":["a","a","b","b"]}',
    '{"A":1,"a":2}',
    '{"a":1,"a ":2}',
    '{"a":{"b":1},"b":{"a":1}}',
    '{"é":1,"e\\u0301":2}',
    '{"a":"\\",\\"a\\":1"}',
    '{"constructor":1,"toString":2,"hasOwnProperty":3}',
  ])("%p are taken: all differ", (text) => expect(parse(text)).toEqual(JSON.parse(text)));

  test("that occur twice are found wherever the second one is put", () => {
    const key = fc.string({ unit: "binary", maxLength: 4 });
    const entries = fc.uniqueArray(key, { minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(entries, fc.nat(), fc.nat(), fc.boolean(), (names, which, where, spelled) => {
        const written = names.map((name) => JSON.stringify(name));
        const text = `{${written.map((name) => `${name}:{}`).join(",")}}`;
        expect(Object.keys(parse(text) as object)).toHaveLength(names.length);
        const again = names[which % names.length] ?? "";
        const other = spelled
          ? `"${again.replaceAll(/[^]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`)}"`
          : JSON.stringify(again);
        written.splice(where % (names.length + 1), 0, other);
        const twice = `{${written.map((name) => `${name}:{}`).join(",")}}`;
        expect(() => parse(twice)).toThrow("occurs twice");
      }),
      { numRuns: 1000 },
    );
  });

  test("named __proto__ change no prototype", () => {
    const value = parse('{"__proto__":{"polluted":true}}') as Record<string, unknown>;
    expect(value["polluted"]).toBeUndefined();
    expect(Object.keys(value)).toEqual(["__proto__"]);
  });
});

describe("nesting", () => {
  const nested = (levels: number, open: string, close: string) =>
    `${open.repeat(levels)}1${close.repeat(levels)}`;

  test("is counted to the level, in lists and objects", () => {
    for (const [open, close] of [
      ["[", "]"],
      ['{"a":', "}"],
      ['[{"a":', "}]"],
    ] as const) {
      const each = open.startsWith("[{") ? 2 : 1;
      expect(() => parse(nested(8 / each, open, close), 8)).not.toThrow();
      expect(() => parse(nested(8 / each, open, close), 7)).toThrow("deeper than 7 levels");
    }
  });

  test("side by side is not depth, nor are brackets in strings", () => {
    expect(parse(`[${"[],".repeat(1000)}[]]`, 2)).toHaveLength(1001);
    expect(parse(JSON.stringify(["[".repeat(1000)]), 1)).toHaveLength(1);
  });

  test.each(["[", '{"a":', '[{"":', "[ \n"])("of a million times %j is refused at once", (open) => {
    const bytes = new TextEncoder().encode(open.repeat(1_000_000));
    const run = () => expect(() => parseJson(bytes, DEPTH)).toThrow("nested deeper");
    expect(timesOfParse(run)).toBeLessThan(100);
  });
});

describe("bytes", () => {
  test.each<[string, number[]]>([
    ["a stray continuation", [0x22, 0x80, 0x22]],
    ["a cut sequence", [0x22, 0xe2, 0x82, 0x22]],
    ["a cut end", [0x31, 0xe2, 0x82]],
    ["an overlong form", [0x22, 0xc0, 0xaf, 0x22]],
    ["a surrogate", [0x22, 0xed, 0xa0, 0x80, 0x22]],
    ["beyond Unicode", [0x22, 0xf4, 0x90, 0x80, 0x80, 0x22]],
    ["Latin-1", [0x22, 0xe9, 0x22]],
    ["UTF-16", [0xff, 0xfe, 0x31, 0x00]],
  ])("that are not UTF-8 are refused: %s", (_, bytes) => {
    expect(() => parseJson(new Uint8Array(bytes), DEPTH)).toThrow("not valid UTF-8");
    expect(parse("1")).toBe(1);
  });

  test("with a byte order mark are refused", () => {
    expect(() => parseJson(new Uint8Array([0xef, 0xbb, 0xbf, 0x31]), DEPTH)).toThrow(JsonError);
  });

  test("with escaped lone surrogates are JSON", () => {
    expect(parse('"\\ud800"')).toBe("\ud800");
    expect(parse('{"\\udc00":1,"\\ud800":2}')).toEqual({ "\udc00": 1, "\ud800": 2 });
  });

  test("of any kind are read, or refused with JsonError", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        try {
          parseJson(bytes, DEPTH);
        } catch (error) {
          expect(error).toBeInstanceOf(JsonError);
        }
      }),
      { numRuns: 2000 },
    );
  });
});

describe("4 MiB", () => {
  const repeat = (head: string, unit: string, tail: string) =>
    head + unit.repeat((4 * MIB - head.length - tail.length) / unit.length) + tail;
  const layers = Array.from({ length: 20_000 }, (_, i) => ({
    mediaType: "application/vnd.oci.image.layer.v1.tar+gzip",
    digest: `sha256:${i.toString(16).padStart(64, "0")}`,
    size: i,
    annotations: { "org.opencontainers.image.title": `layer ${i}` },
  }));

  test.each<[string, string]>([
    ["of descriptors", JSON.stringify({ schemaVersion: 2, layers })],
    ["of long annotations", repeat('{"a":"', "x", '"}')],
    ["of empty objects", repeat("[", "{},", "{}]")],
    ["of small objects", repeat("[", '{"a":1},', "1]")],
    ["of escaped quotes", repeat('["', '\\"', '"]')],
    ["of backslashes", repeat('["', "\\\\", '"]')],
    ["of spaces after a key", repeat('{"a"', " ", ":1}")],
  ])("%s are read in at most a hundred times what JSON.parse takes", (_, text) => {
    const bytes = new TextEncoder().encode(text);
    expect(timesOfParse(() => void parseJson(bytes, DEPTH))).toBeLessThan(100);
  });

  test("of nothing but keys are read in at most fifty times what JSON.parse takes for them", () => {
    const keys = Array.from({ length: 400_000 }, (_, i) => `"${i.toString(36)}":1`);
    const text = `{${keys.join(",")}}`;
    const bytes = new TextEncoder().encode(text);
    expect(timesOfParse(() => void parseJson(bytes, DEPTH), text)).toBeLessThan(50);
  });

  test.each(['"', "{", "\\", '"a":', "a"])(
    "of %j are refused in at most a hundred times what JSON.parse takes",
    (unit) => {
      const bytes = new TextEncoder().encode(unit.repeat((4 * MIB) / unit.length));
      const run = () => expect(() => parseJson(bytes, DEPTH)).toThrow(JsonError);
      expect(timesOfParse(run)).toBeLessThan(100);
    },
  );
});

test("a quoted text is cut where it would swamp a message", () => {
  expect(quote('a"b')).toBe('"a\\"b"');
  expect(quote("x".repeat(128))).toBe(`"${"x".repeat(128)}"`);
  expect(quote("x".repeat(1e6))).toBe(`"${"x".repeat(128)}…"`);
  expect(() => parse(`{"${"x".repeat(1e6)}":1,"${"x".repeat(1e6)}":1}`)).toThrow(/^.{1,300}$/);
});
