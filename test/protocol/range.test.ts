import { expect, test } from "bun:test";
import { openInProcess, type InProcess } from "../support/in-process.ts";
import { bytesOf } from "./support/content.ts";
import { header, pushBlob } from "./support/requests.ts";

/** Small enough for memory, and large enough for a file of its own. */
const SIZES = [5000, 200_000] as const;

interface Fixture extends AsyncDisposable {
  readonly content: Uint8Array<ArrayBuffer>;
  readonly digest: string;
  get(range: string, more?: Record<string, string>): Promise<Response>;
}

async function withBlob(size: number): Promise<Fixture> {
  const registry: InProcess = await openInProcess();
  const content = bytesOf(size);
  const digest = await pushBlob(registry.handle, "a", content);
  return {
    content,
    digest,
    get: async (range, more = {}) =>
      registry.handle(`/v2/a/blobs/${digest}`, { headers: { Range: range, ...more } }),
    [Symbol.asyncDispose]: async () => registry[Symbol.asyncDispose](),
  };
}

async function bodyOf(response: Response): Promise<Uint8Array> {
  return new Uint8Array(await response.arrayBuffer());
}

for (const size of SIZES) {
  const cases: readonly [string, number, number][] = [
    ["bytes=0-0", 0, 0],
    ["bytes=500-1499", 500, 1499],
    ["bytes=500-", 500, size - 1],
    ["bytes=-500", size - 500, size - 1],
    [`bytes=2000-${size * 2}`, 2000, size - 1],
    [`bytes=-${size * 2}`, 0, size - 1],
    [`bytes=${size - 1}-`, size - 1, size - 1],
    ["Bytes=1-2", 1, 2],
    [`bytes=10-20,${size}-`, 10, 20],
  ];
  for (const [range, start, end] of cases) {
    test(`${range} of ${size} bytes is answered with exactly these bytes`, async () => {
      await using blob = await withBlob(size);
      const response = await blob.get(range);
      expect(response.status).toBe(206);
      expect(response.headers.get("Content-Range")).toBe(`bytes ${start}-${end}/${size}`);
      expect(await bodyOf(response)).toEqual(blob.content.slice(start, end + 1));
    });
  }

  for (const range of [`bytes=${size}-`, "bytes=500-0", "bytes=-0", `bytes=${size}-${size * 2}`]) {
    test(`${range} of ${size} bytes cannot be satisfied`, async () => {
      await using blob = await withBlob(size);
      const response = await blob.get(range);
      expect(response.status).toBe(416);
      expect(response.headers.get("Content-Range")).toBe(`bytes */${size}`);
    });
  }

  test(`several ranges of ${size} bytes come as parts of one body`, async () => {
    await using blob = await withBlob(size);
    const response = await blob.get("bytes=0-9,100-199,-5");
    expect(response.status).toBe(206);
    const parts = partsOf(header(response, "Content-Type"), await bodyOf(response));
    const last = `bytes ${size - 5}-${size - 1}/${size}`;
    const ranges = parts.map(({ range }) => range);
    expect(ranges).toEqual([`bytes 0-9/${size}`, `bytes 100-199/${size}`, last]);
    const { content } = blob;
    const wanted = [content.slice(0, 10), content.slice(100, 200), content.slice(-5)];
    expect(parts.map(({ body }) => body)).toEqual(wanted);
  });
}

test("the boundary of several ranges is of the letters that zstd:chunked pulls can read", async () => {
  await using blob = await withBlob(5000);
  const { headers } = await blob.get("bytes=0-9,100-199");
  expect(headers.get("Content-Type")).toMatch(/^multipart\/byteranges; boundary=[A-Za-z0-9:-]+$/);
});

test("ranges that overlap, are too many, malformed or of another unit are answered with the whole", async () => {
  await using blob = await withBlob(5000);
  const many = Array.from({ length: 100 }, (_, i) => `${i * 10}-${i * 10 + 1}`).join(",");
  const ranges = ["bytes=0-10,5-20", `bytes=${many}`, "bytes=a-b", "bytes=--5", "lines=1-2"];
  for (const range of [...ranges, "bytes", "bytes=", "bytes=1-2=3", "bytes=-"]) {
    const response = await blob.get(range);
    expect([range, response.status]).toEqual([range, 200]);
    expect(await bodyOf(response)).toEqual(blob.content);
  }
});

test("an empty blob has no range", async () => {
  await using registry = await openInProcess();
  const digest = await pushBlob(registry.handle, "a", "");
  const init = { headers: { Range: "bytes=0-" } };
  const response = await registry.handle(`/v2/a/blobs/${digest}`, init);
  expect(response.status).toBe(416);
  expect(response.headers.get("Content-Range")).toBe("bytes */0");
});

test("If-Range with the blob's ETag is answered in part, with anything else in whole", async () => {
  await using blob = await withBlob(5000);
  const matching = await blob.get("bytes=0-9", { "If-Range": `"${blob.digest}"` });
  expect(matching.status).toBe(206);
  for (const condition of ['"sha256:other"', "Sat, 21 Nov 2026 12:00:00 GMT"]) {
    const other = await blob.get("bytes=0-9", { "If-Range": condition });
    expect(other.status).toBe(200);
    expect(await bodyOf(other)).toEqual(blob.content);
  }
});

test("HEAD ignores a Range, as RFC 9110 demands", async () => {
  await using registry = await openInProcess();
  const digest = await pushBlob(registry.handle, "a", bytesOf(5000));
  for (const Range of ["bytes=0-9", "bytes=0-9,20-29", "bytes=9000-"]) {
    const init = { method: "HEAD", headers: { Range } };
    const response = await registry.handle(`/v2/a/blobs/${digest}`, init);
    expect(response.status).toBe(200);
    expect(response.headers.get("Content-Length")).toBe("5000");
  }
});

function partsOf(
  contentType: string,
  bytes: Uint8Array,
): { readonly range: string; readonly body: Uint8Array }[] {
  const boundary = contentType.split("boundary=")[1] ?? "";
  const text = Buffer.from(bytes).toString("latin1");
  expect(text).toEndWith(`--${boundary}--\r\n`);
  const sections = text.split(`--${boundary}`).slice(1, -1);
  return sections.map((section) => {
    const split = section.indexOf("\r\n\r\n");
    const range = /Content-Range: (.+)\r\n/.exec(section.slice(0, split + 2))?.[1] ?? "";
    const body = section.slice(split + 4, -2);
    return { range, body: new Uint8Array(Buffer.from(body, "latin1")) };
  });
}
