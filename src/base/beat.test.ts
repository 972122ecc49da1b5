import { expect, test } from "bun:test";
import { Beat } from "./beat.ts";

test("turns never overlap, and one that takes long is waited for only so long", async () => {
  let [under, most, begun] = [0, 0, 0];
  const [third, release] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const beat = new Beat(5, async () => {
    begun++;
    most = Math.max(most, ++under);
    if (begun === 3) {
      third.resolve();
      await release.promise;
    }
    under--;
  });
  await third.promise;
  await Bun.sleep(30);
  expect([begun, most]).toEqual([3, 1]);
  const began = performance.now();
  await beat.stop(20);
  expect(performance.now() - began).toBeLessThan(2000);
  release.resolve();
  await Bun.sleep(20);
  expect(begun).toBe(3);
});
