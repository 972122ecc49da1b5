import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import { encodeFrame, FrameError, FrameReader, FrameWriter } from "./frames.ts";

describe("frames", () => {
  test("come back whole and in order however the stream is cut", () => {
    const texts = fc.array(fc.string({ unit: "binary", maxLength: 300 }), { maxLength: 8 });
    const cuts = fc.array(fc.integer({ min: 1, max: 200 }), { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(texts, cuts, (texts, cuts) => {
        const stream = Buffer.concat(texts.map(encodeFrame));
        const reader = new FrameReader(10_000);
        const seen: string[] = [];
        for (let at = 0, turn = 0; at < stream.length; turn++) {
          const size = cuts[turn % cuts.length] ?? 1;
          const chunk = Buffer.from(stream.subarray(at, at + size));
          seen.push(...reader.push(chunk));
          chunk.fill(0xff);
          at += size;
        }
        expect(seen).toEqual(texts);
      }),
    );
  });

  test("a length beyond the limit is refused before its bytes arrive", () => {
    const reader = new FrameReader(10);
    expect(() => reader.push(encodeFrame("12345678901").subarray(0, 4))).toThrow(FrameError);
  });

  test("a sink that takes little at a time gets every byte once", () => {
    const taken: Buffer[] = [];
    let room = 0;
    const writer = new FrameWriter({
      write(bytes) {
        const count = Math.min(room, bytes.byteLength);
        taken.push(Buffer.from(bytes.subarray(0, count)));
        room -= count;
        return count;
      },
    });
    const texts = ["one", "", "three".repeat(50), "four"];
    for (const text of texts) writer.send(text);
    for (let turn = 0; turn < 100; turn++) {
      room = 7;
      writer.drain();
    }
    expect(new FrameReader(1000).push(Buffer.concat(taken))).toEqual(texts);
  });
});
