/** Backlog, newcomers, pace and view by themselves. */
import { describe, expect, test } from "bun:test";
import type { Locator, StoredBlob } from "../../blobs/port.ts";
import type { Nodes, NodeState } from "../node.ts";
import { Backlog } from "./backlog.ts";
import { Newcomers } from "./newcomers.ts";
import { Pace, Rate } from "./pace.ts";
import { viewOf } from "./view.ts";

const locatorOf = (n: number) => `blobs/sha256/aa/${"a".repeat(64)}.aaa${"b".repeat(n)}` as Locator;
const blobOf = (n: number, size = 10): StoredBlob => ({ locator: locatorOf(n), size });

describe("the backlog", () => {
  test("gives the most endangered first, each once", () => {
    const backlog = new Backlog();
    backlog.add(blobOf(1), 2);
    backlog.add(blobOf(2), 0);
    backlog.add(blobOf(3), 1);
    backlog.add(blobOf(4), 2);
    backlog.add(blobOf(4), 0);
    expect([backlog.blobs, backlog.bytes]).toEqual([4, 40]);
    const taken = Array.from({ length: 5 }, () => backlog.take()?.locator.length);
    expect(taken).toEqual(
      [2, 4, 3, 1].map((n) => locatorOf(n).length).concat([undefined as never]),
    );
    backlog.done(blobOf(2));
    backlog.add(blobOf(4), 0);
    expect(backlog.take()).toBeUndefined();
    expect([backlog.blobs, backlog.bytes]).toEqual([3, 30]);
  });

  test("remembers so many, and the number of those beyond", () => {
    const backlog = new Backlog(2);
    expect([1, 2, 3, 1].map((n) => backlog.add(blobOf(n), 1))).toEqual([true, true, false, true]);
    backlog.surveyBegins();
    backlog.surveyEnds({ blobs: 1, bytes: 10 });
    expect([backlog.blobs, backlog.bytes]).toEqual([3, 30]);
  });

  test("forgets what failed and was not missed again", () => {
    const backlog = new Backlog();
    for (const n of [1, 2, 3]) backlog.add(blobOf(n), 1);
    for (const n of [1, 2]) {
      backlog.take();
      backlog.failed(blobOf(n));
    }
    expect(backlog.blobs).toBe(3);
    backlog.surveyBegins();
    backlog.add(blobOf(2), 1);
    backlog.take();
    backlog.failed(blobOf(3));
    backlog.surveyEnds({ blobs: 0, bytes: 0 });
    // 2 was missed again, 3 failed while it was looked for.
    expect(backlog.blobs).toBe(2);
    expect(backlog.take()?.locator).toBe(locatorOf(2));
  });
});

test("new blobs are looked at after a while, and given up when there are too many", () => {
  const newcomers = new Newcomers(100, 3);
  const change = (n: number, more = {}) => ({
    revision: n,
    changes: [
      { key: "blob!x", value: JSON.stringify({ ...blobOf(n), at: 1, ...more }) },
      { key: "blob!gone", value: undefined },
    ],
  });
  expect(newcomers.take(change(5), 0)).toBe(true);
  expect(newcomers.take(change(5, { foreign: true }), 0)).toBe(true);
  expect(newcomers.take(change(5, { locator: "packs/aaaabbbbccccdddd:0001:x" }), 0)).toBe(true);
  expect(newcomers.take(change(5), 50)).toBe(true);
  expect(newcomers.due(99, 10)).toHaveLength(0);
  expect(newcomers.due(100, 10)).toEqual([{ ...blobOf(5), at: 1 }]);
  expect(newcomers.due(1000, 10)).toHaveLength(1);
  expect(newcomers.due(1000, 10)).toHaveLength(0);
  for (let i = 0; i < 3; i++) expect(newcomers.take(change(5), 0)).toBe(true);
  expect(newcomers.take(change(5), 0)).toBe(false);
  expect(newcomers.due(1000, 10)).toHaveLength(0);
});

test("the pace is kept by all together", async () => {
  const pace = new Pace(1_000_000);
  const { signal } = new AbortController();
  const began = performance.now();
  await Promise.all(
    [0, 1].map(async () => {
      for (let i = 0; i < 5; i++) await pace.took(30_000, signal);
    }),
  );
  expect(performance.now() - began).toBeWithin(270, 400);
});

test("the rate is that of the last ten seconds", () => {
  let now = 0;
  const rate = new Rate(() => now);
  expect(rate.perSecond).toBe(0);
  const rates = Array.from({ length: 30 }, (_, i) => {
    now += 1000;
    rate.add(i < 10 ? 1000 : 0);
    return rate.perSecond;
  });
  expect(rates[0]).toBe(1000);
  expect(rates[8]).toBe(1000);
  expect(rates[14]).toBeWithin(1, 999);
  expect(rates[29]).toBe(0);
});

describe("the view", () => {
  const node = (name: string, more: Partial<NodeState> = {}): NodeState => ({
    name,
    address: `${name}:1`,
    store: `store-${name}`,
    isLive: true,
    downSince: undefined,
    ...more,
  });
  const view = (...all: NodeState[]) => {
    const nodes: Nodes = { self: "a", all: () => all, failed() {}, onChange: () => () => {} };
    return viewOf({ nodes, copies: 2, downAfterMs: 60_000, now: () => 100_000 });
  };
  const names = (nodes: Iterable<NodeState>) => [...nodes].map(({ name }) => name).join();

  test("keeps the place of who is away for a while, and waits for nobody longer", () => {
    const away = (ms: number) => ({ isLive: false, downSince: 100_000 - ms });
    const { self, placed, live, wanted } = view(
      node("a"),
      node("b", away(500)),
      node("c", away(30_000)),
      node("d", away(60_000)),
    );
    expect([self?.name, names(placed), names(live), wanted]).toEqual(["a", "a,b,c", "a,b", 2]);
  });

  test("wants as many copies as a push waits for, though nodes drain", () => {
    const drained = { draining: true } as const;
    expect(view(node("a"), node("b", drained), node("c", drained)).wanted).toBe(2);
    expect(view(node("a"), node("b", drained)).wanted).toBe(2);
    expect(view(node("a", drained)).wanted).toBe(1);
  });

  test("spells what matters, and nothing else", () => {
    const of = (more: Partial<NodeState>) => view(node("a"), node("b", more)).basis;
    const plain = of({});
    const full = { free: 0, total: 2 ** 40 };
    for (const more of [
      { store: "other" },
      { zone: "z" },
      { draining: true as const },
      { space: full },
      { isLive: false, downSince: 0 },
      { isLive: false, downSince: 90_000 },
    ])
      expect(of(more)).not.toBe(plain);
    const roomy = { free: 2 ** 39, total: 2 ** 40 };
    for (const more of [
      { address: "c:2" },
      { run: "r" },
      { space: roomy },
      { isLive: false, downSince: 99_000 },
    ])
      expect(of(more)).toBe(plain);
  });
});
