import { expect, test } from "bun:test";
import { openInProcess, type InProcess } from "../support/in-process.ts";
import { nextOf, openSession, pushBlob } from "./support/requests.ts";

const NAMES = ["a", "a-b", "a.b", "a/b", "a/b/c", "a0", "a_b", "a__b", "ab", "b", "0", "z/z"];
const IN_ORDER = NAMES.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));

async function withRepositories(env: Record<string, string> = {}): Promise<InProcess> {
  const registry = await openInProcess({ env });
  for (const name of NAMES) await pushBlob(registry.handle, name, "x");
  return registry;
}

async function walk(registry: InProcess, first: string): Promise<string[][]> {
  const pages: string[][] = [];
  for (let path: string | undefined = first; path !== undefined;) {
    const response: Response = await registry.handle(path);
    expect(response.status).toBe(200);
    const body = (await response.clone().json()) as { repositories: string[] };
    pages.push(body.repositories);
    path = nextOf(response);
  }
  return pages;
}

test("the catalog of an empty registry is an empty list", async () => {
  await using registry = await openInProcess();
  const response = await registry.handle("/v2/_catalog");
  expect(await response.json()).toEqual({ repositories: [] });
});

test("a repository is listed from its first content on, not from an upload", async () => {
  await using registry = await openInProcess();
  await openSession(registry.handle, "a");
  expect(await walk(registry, "/v2/_catalog")).toEqual([[]]);
  await pushBlob(registry.handle, "a", "x");
  expect(await walk(registry, "/v2/_catalog")).toEqual([["a"]]);
});

for (const n of [1, 2, 5, 11, 12, 1000]) {
  test(`pages of ${n} give every repository once, in the order of bytes`, async () => {
    await using registry = await withRepositories();
    const pages = await walk(registry, `/v2/_catalog?n=${n}`);
    expect(pages.flat()).toEqual(IN_ORDER);
    for (const page of pages.slice(0, -1)) expect(page).toHaveLength(n);
  });
}

test("last is exclusive and need not exist, and n=0 asks for nothing", async () => {
  await using registry = await withRepositories();
  for (const last of [...NAMES, "a-", "a/", "", "zzz", "A", "\0", "é"]) {
    const wanted = IN_ORDER.filter(
      (name) => Buffer.compare(Buffer.from(name), Buffer.from(last)) > 0,
    );
    const [page] = await walk(registry, `/v2/_catalog?last=${encodeURIComponent(last)}`);
    expect([last, page]).toEqual([last, wanted]);
  }
  expect(await walk(registry, "/v2/_catalog?n=0")).toEqual([[]]);
});

test("a page without n, or with too large a one, is cut, and the rest follows by Link", async () => {
  await using registry = await withRepositories({
    HOLDFAST_LIMITS_CATALOG_ENTRIES: "5",
    HOLDFAST_LIMITS_PAGE_ENTRIES: "8",
  });
  const sizes = async (path: string): Promise<number[]> =>
    (await walk(registry, path)).map((page) => page.length);
  expect(await sizes("/v2/_catalog")).toEqual([5, 5, 2]);
  expect(await sizes("/v2/_catalog?n=1000000")).toEqual([8, 4]);
});
