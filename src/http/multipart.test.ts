import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import type { ByteSpan } from "../oci/range.ts";
import type { PulledBlob } from "../registry/pull.ts";
import { multipart } from "./multipart.ts";

const CONTENT = new Uint8Array(256).map((_, i) => i);

/** The content in each of the forms in which a store hands out a part. */
function blobOf(form: "bytes" | "blob" | "stream", asked: ByteSpan[] = []): PulledBlob {
  return {
    size: CONTENT.length,
    stale: false,
    url: async () => undefined,
    body: async (range) => {
      if (range === undefined) throw new Error("asked for the whole");
      asked.push(range);
      const part = CONTENT.slice(range.start, range.end + 1);
      if (form === "bytes") return part;
      return form === "blob" ? new Blob([part]) : new Blob([part]).stream();
    },
  };
}

/** Takes a body apart by its boundary, as a client does. */
function partsOf(body: Uint8Array, boundary: string): { head: string; bytes: number[] }[] {
  const text = Buffer.from(body).toString("latin1");
  expect(text).toStartWith(`--${boundary}\r\n`);
  expect(text).toEndWith(`\r\n--${boundary}--\r\n`);
  const inner = text.slice(boundary.length + 4, -(boundary.length + 8));
  return inner.split(`\r\n--${boundary}\r\n`).map((part) => {
    const end = part.indexOf("\r\n\r\n");
    return { head: part.slice(0, end), bytes: [...Buffer.from(part.slice(end + 4), "latin1")] };
  });
}

describe("several parts", () => {
  const span = fc
    .tuple(fc.nat(255), fc.nat(255))
    .map(([a, b]): ByteSpan => ({ start: Math.min(a, b), end: Math.max(a, b) }));
  const form = fc.constantFrom("bytes" as const, "blob" as const, "stream" as const);

  test("are each headed by their place, and hold its bytes", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(span, { minLength: 2, maxLength: 5 }),
        form,
        async (spans, form) => {
          const parts = multipart(spans, blobOf(form), "a/b");
          const boundary = /^multipart\/byteranges; boundary=([A-Za-z0-9]{1,70})$/.exec(
            parts.contentType,
          )?.[1];
          const body = await new Response(parts.stream()).bytes();
          expect(partsOf(body, boundary ?? "")).toEqual(
            spans.map(({ start, end }) => ({
              head: `Content-Type: a/b\r\nContent-Range: bytes ${start}-${end}/256`,
              bytes: [...CONTENT.subarray(start, end + 1)],
            })),
          );
        },
      ),
      { numRuns: 50 },
    );
  });

  test("have a boundary that nobody can foresee", () => {
    const types = Array.from(
      { length: 100 },
      () => multipart([], blobOf("bytes"), "a/b").contentType,
    );
    expect(new Set(types).size).toBe(100);
  });

  test("are read when the client takes them, and no more once it is gone", async () => {
    const asked: ByteSpan[] = [];
    const spans = [0, 10, 20, 30].map((start) => ({ start, end: start + 4 }));
    const reader = multipart(spans, blobOf("bytes", asked), "a/b").stream().getReader();
    await Bun.sleep(5);
    expect(asked).toEqual([]);
    await reader.read();
    await reader.read();
    await Bun.sleep(5);
    expect(asked).toEqual(spans.slice(0, 1));
    await reader.cancel();
    expect(asked).toEqual(spans.slice(0, 1));
  });

  test("break off where one cannot be read", async () => {
    const gone: PulledBlob = {
      ...blobOf("bytes"),
      body: async () => Promise.reject(new Error("gone")),
    };
    const parts = multipart([{ start: 0, end: 1 }], gone, "a/b");
    expect(new Response(parts.stream()).bytes()).rejects.toThrow("gone");
  });
});
