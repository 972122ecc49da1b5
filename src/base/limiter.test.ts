import { expect, test } from "bun:test";
import { Limiter } from "./limiter.ts";

test("never more at once than the limit, in order, also when tasks fail", async () => {
  const limiter = new Limiter(3);
  const begun: number[] = [];
  let [running, most] = [0, 0];
  const tasks = Array.from({ length: 20 }, (_, i) =>
    limiter.run(async () => {
      begun.push(i);
      most = Math.max(most, ++running);
      await Bun.sleep(i % 4);
      running--;
      if (i % 5 === 0) throw new Error(`task ${i}`);
      return i;
    }),
  );
  const results = await Promise.allSettled(tasks);
  expect(most).toBe(3);
  expect(begun).toEqual(begun.toSorted((a, b) => a - b));
  expect(results.filter(({ status }) => status === "rejected")).toHaveLength(4);
  expect(await limiter.run(async () => "again")).toBe("again");
  expect(running).toBe(0);
});
