import { expect, test } from "bun:test";
import { randomHex, systemClock } from "./clock.ts";

test("the clock shows milliseconds since the epoch", () => {
  const before = Date.now();
  const now = systemClock.now();
  expect(now).toBeGreaterThanOrEqual(before);
  expect(now).toBeLessThanOrEqual(Date.now());
});

test("random bytes come as twice as many digits, and never again", () => {
  const seen = Array.from({ length: 1000 }, () => randomHex(9));
  for (const text of seen) expect(text).toMatch(/^[0-9a-f]{18}$/);
  expect(new Set(seen).size).toBe(seen.length);
});
