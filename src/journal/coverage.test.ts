import { expect, test } from "bun:test";
import * as fc from "fast-check";
import { chainFrom, type Run } from "./coverage.ts";

const run = fc
  .tuple(fc.nat(30), fc.integer({ min: 1, max: 8 }))
  .map(([after, length]) => ({ after, last: after + length }));

test("a chain covers every revision up to its end, and no longer chain exists", () => {
  fc.assert(
    fc.property(fc.array(run, { maxLength: 20 }), fc.nat(10), (runs, start) => {
      const { runs: chain, end } = chainFrom(start, runs);
      const covered = (some: readonly Run[]) =>
        new Set(
          some.flatMap(({ after, last }) =>
            Array.from({ length: last - after }, (_, n) => after + 1 + n),
          ),
        );
      const [all, ours] = [covered(runs), covered(chain)];
      let reach = start;
      while (all.has(reach + 1)) reach++;
      // A run is only usable when all of it follows: its beginning must be covered, which it is by the one before.
      expect(end).toBe(reach);
      for (let revision = start + 1; revision <= end; revision++)
        expect(ours.has(revision)).toBe(true);
      for (const [n, { after }] of chain.entries())
        expect(after).toBeLessThanOrEqual(n === 0 ? start : (chain[n - 1]?.last ?? 0));
    }),
    { numRuns: 2000 },
  );
});
