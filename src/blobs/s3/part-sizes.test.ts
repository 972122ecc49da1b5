import { expect, test } from "bun:test";
import { inFlightMax, PARTS_MAX, partSize } from "./part-sizes.ts";

test("10,000 parts hold 5 TiB, none is too small or too large for a store, and 64 MiB do for 149 GiB", () => {
  let total = 0;
  for (let number = 1; number <= PARTS_MAX; number++) {
    const size = partSize(number);
    expect(size).toBeGreaterThanOrEqual(Math.max(5 * 2 ** 20, partSize(number - 1)));
    expect(size).toBeLessThanOrEqual(5 * 2 ** 30);
    if (total < 148 * 2 ** 30) expect(size * (inFlightMax(size) + 1)).toBeLessThanOrEqual(2 ** 26);
    total += size;
  }
  expect(total).toBeGreaterThanOrEqual(5 * 2 ** 40);
});
