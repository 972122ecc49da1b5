import { expect, test } from "bun:test";
import { delegate } from "../../src/meta/delegate.ts";
import type { MetaStore } from "../../src/meta/port.ts";
import { openInProcess, type InProcess, type InProcessOptions } from "../support/in-process.ts";
import { digestOf, EMPTY_JSON, imageOf } from "./support/content.ts";
import { expectError } from "./support/errors.ts";
import {
  nextOf,
  pushBlob,
  pushImage,
  pushManifest,
  putManifest,
  tagsOf,
} from "./support/requests.ts";

/** Names that other orders than that of bytes would mix up. */
const TAGS = ["0", "1", "1.0", "1.0.0", "10", "2", "A", "Z", "_", "a", "a-b", "a.b", "ab", "b"];
const IN_ORDER = [...TAGS].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));

async function withTags(
  tags: readonly string[],
  options: InProcessOptions = {},
): Promise<InProcess> {
  const registry = await openInProcess(options);
  await pushBlob(registry.handle, "a", EMPTY_JSON);
  const text = imageOf([]);
  for (let at = 0; at < tags.length; at += 100) {
    const query = tags.slice(at, at + 100).map((tag) => `tag=${tag}`);
    const path = `${digestOf(text)}?${query.join("&")}`;
    expect((await putManifest(registry.handle, "a", path, text)).status).toBe(201);
  }
  return registry;
}

async function walk(registry: InProcess, first: string): Promise<string[][]> {
  const pages: string[][] = [];
  for (let path: string | undefined = first; path !== undefined;) {
    const response: Response = await registry.handle(path);
    expect(response.status).toBe(200);
    pages.push(((await response.clone().json()) as { tags: string[] }).tags);
    path = nextOf(response);
  }
  return pages;
}

test("tags are listed in the order of their bytes", async () => {
  await using registry = await withTags(TAGS.toReversed());
  expect(await tagsOf(registry.handle, "a")).toEqual(IN_ORDER);
});

test("a repository without tags has an empty list, one that does not exist none", async () => {
  await using registry = await openInProcess();
  await pushBlob(registry.handle, "a", "x");
  const list = await registry.handle("/v2/a/tags/list");
  expect(await list.json()).toEqual({ name: "a", tags: [] });
  await expectError(await registry.handle("/v2/none/tags/list"), 404, "NAME_UNKNOWN");
});

for (const n of [1, 2, 3, 5, 13, 14, 15, 1000]) {
  test(`pages of ${n} give every tag once, in order, and end without a Link`, async () => {
    await using registry = await withTags(TAGS);
    const pages = await walk(registry, `/v2/a/tags/list?n=${n}`);
    expect(pages.flat()).toEqual(IN_ORDER);
    for (const page of pages.slice(0, -1)) expect(page).toHaveLength(n);
  });
}

test("n=0 is an empty list without a Link", async () => {
  await using registry = await withTags(TAGS);
  const response = await registry.handle("/v2/a/tags/list?n=0");
  expect(await response.json()).toEqual({ name: "a", tags: [] });
  expect(response.headers.has("Link")).toBe(false);
});

test("last is exclusive, needs no n, and need not exist", async () => {
  await using registry = await withTags(TAGS);
  for (const last of [...TAGS, "1.00", "0zzz", "", "zzz", "B", "a-", "a!", "~", "é", "\0", "a\0"]) {
    const wanted = IN_ORDER.filter(
      (tag) => Buffer.compare(Buffer.from(tag), Buffer.from(last)) > 0,
    );
    const query = `?last=${encodeURIComponent(last)}`;
    expect([last, await tagsOf(registry.handle, "a", query)]).toEqual([last, wanted]);
  }
});

test("an n beyond the limit is cut to it, and the rest follows by Link", async () => {
  const env = { HOLDFAST_LIMITS_PAGE_ENTRIES: "5" };
  await using registry = await withTags(TAGS, { env });
  for (const query of ["", "?n=100", `?n=${2 ** 31}`, `?n=${"9".repeat(400)}`]) {
    const pages = await walk(registry, `/v2/a/tags/list${query}`);
    expect(pages.map((page) => page.length)).toEqual([5, 5, 4]);
  }
});

test("without n a list of a few thousand tags is one page", async () => {
  const tags = Array.from({ length: 2500 }, (_, i) => `v${i.toString().padStart(4, "0")}`);
  await using registry = await withTags(tags);
  expect(await tagsOf(registry.handle, "a")).toEqual(tags);
});

test("a long page is read in short runs, whatever its length, and the next goes on where it ended", async () => {
  const asked: number[] = [];
  const wrapMeta = (meta: MetaStore): MetaStore =>
    delegate(meta, {
      scan: async (options) => {
        if (options.prefix.startsWith("tag!")) asked.push(options.limit);
        return meta.scan(options);
      },
    });
  const tags = Array.from({ length: 1500 }, (_, i) => `v${i.toString().padStart(4, "0")}`);
  await using registry = await withTags(tags, { wrapMeta });
  const pages = await walk(registry, "/v2/a/tags/list?n=700");
  expect(pages).toEqual([tags.slice(0, 700), tags.slice(700, 1400), tags.slice(1400)]);
  expect(Math.max(...asked)).toBeLessThanOrEqual(250);
});

test("an n that is no number, negative or given twice is refused", async () => {
  await using registry = await withTags(["v1"]);
  for (const n of ["-1", "x", "1.5", "1e3", "", "0x10", " 1", "n", "1&n=2"]) {
    for (const path of ["/v2/a/tags/list", "/v2/_catalog", `/v2/a/referrers/${digestOf("x")}`]) {
      await expectError(await registry.handle(`${path}?n=${n}`), 400, "UNSUPPORTED");
    }
  }
});

test("the list shows tags of its repository only, whatever the names of the others begin with", async () => {
  await using registry = await openInProcess();
  const names = ["a", "a/b", "a-b", "a.b", "ab", "a/b/c", "a__b"];
  for (const name of names)
    await pushImage(registry.handle, name, `of-${name.replace(/\W/g, "_")}`);
  for (const name of names) {
    expect(await tagsOf(registry.handle, name)).toEqual([`of-${name.replace(/\W/g, "_")}`]);
  }
});

test("a page is filled with living tags, the dead ones between left out", async () => {
  await using registry = await openInProcess();
  await pushBlob(registry.handle, "a", EMPTY_JSON);
  const text = imageOf([], { annotations: { will: "die" } });
  for (let i = 0; i < 60; i++) {
    const tag = `v${i.toString().padStart(2, "0")}`;
    await pushManifest(registry.handle, "a", tag, i % 3 === 0 ? imageOf([]) : text);
  }
  await registry.handle(`/v2/a/manifests/${digestOf(text)}`, { method: "DELETE" });
  const pages = await walk(registry, "/v2/a/tags/list?n=7");
  expect(pages.flat()).toHaveLength(20);
  expect(pages[0]).toHaveLength(7);
});
