/** Sizes beyond 32 bits. The bytes are a hole in a file: a claim about sizes and ranges, not about content. */
import { expect, test } from "bun:test";
import { mkdirSync, truncateSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { keys } from "../../src/meta/keys.ts";
import { parseDigest } from "../../src/oci/digest.ts";
import { parseName } from "../../src/oci/name.ts";
import { openInProcess } from "../support/in-process.ts";

const SIZE = 5 * 2 ** 30 + 7;

test("a blob of more than 4 GiB has its length and its ranges", async () => {
  await using registry = await openInProcess();
  const digest = parseDigest(`sha256:${"ab".repeat(32)}`);
  const name = parseName("huge");
  if (digest === undefined || name === undefined) throw new Error("not well-formed");
  const locator = `blobs/sha256/ab/${"ab".repeat(32)}.abcdefgh`;
  const path = registry.pathOf(locator);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, "");
  truncateSync(path, SIZE);
  await registry.meta.commit({
    put: [
      { key: keys.repository(name), value: JSON.stringify({ incarnation: "i", at: 0 }) },
      { key: keys.link(digest, name), value: JSON.stringify({ incarnation: "i", at: 0 }) },
      {
        key: keys.blob(digest),
        value: JSON.stringify({ size: SIZE, locator, verified: true, at: 0 }),
      },
    ],
  });

  const head = await registry.handle(`/v2/huge/blobs/${digest}`, { method: "HEAD" });
  expect([head.status, head.headers.get("Content-Length")]).toEqual([200, `${SIZE}`]);
  const start = 2 ** 32 + 5;
  const part = await registry.handle(`/v2/huge/blobs/${digest}`, {
    headers: { Range: `bytes=${start}-${start + 9}` },
  });
  expect(part.status).toBe(206);
  expect(part.headers.get("Content-Range")).toBe(`bytes ${start}-${start + 9}/${SIZE}`);
  expect((await part.arrayBuffer()).byteLength).toBe(10);
  const tail = await registry.handle(`/v2/huge/blobs/${digest}`, {
    headers: { Range: "bytes=-3" },
  });
  expect(tail.headers.get("Content-Range")).toBe(`bytes ${SIZE - 3}-${SIZE - 1}/${SIZE}`);
});
