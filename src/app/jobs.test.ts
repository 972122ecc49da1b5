import { expect, test } from "bun:test";
import type { Logger } from "../base/log.ts";
import { startJobs } from "./jobs.ts";

function recordingLog(lines: string[]): Logger {
  const line = (message: string, fields?: unknown): void => {
    lines.push(`${message} ${JSON.stringify(fields)}`);
  };
  return { debug: line, info: line, warn: line, error: line, request: () => {} };
}

test("a job that fails is told and tried again; its neighbour goes on", async () => {
  const lines: string[] = [];
  const third = Promise.withResolvers<void>();
  let [failing, other] = [0, 0];
  const running = startJobs(
    [
      {
        name: "failing",
        everyMs: 5,
        run: () => (++failing === 3 ? third.resolve() : undefined, Promise.reject(new Error("no"))),
      },
      { name: "other", everyMs: 1, run: async () => void other++ },
    ],
    recordingLog(lines),
  );
  await third.promise;
  await running[Symbol.asyncDispose]();
  // The third may have been cut short by the end.
  expect(lines.length).toBeGreaterThanOrEqual(2);
  expect(lines[0]).toContain("a background job failed");
  expect(lines[0]).toContain('"job":"failing"');
  expect(other).toBeGreaterThan(1);
});

test("the end aborts the run under way, waits for it, and starts no other", async () => {
  const lines: string[] = [];
  const begun = Promise.withResolvers<void>();
  let [runs, cleaned, others] = [0, false, 0];
  const running = startJobs(
    [
      {
        name: "long",
        everyMs: 1,
        async run(signal) {
          runs++;
          begun.resolve();
          await new Promise((resolve) => signal.addEventListener("abort", resolve));
          await Bun.sleep(10);
          cleaned = true;
          throw new Error("cut short");
        },
      },
      { name: "rare", everyMs: 3_600_000, run: async () => void others++ },
    ],
    recordingLog(lines),
  );
  await begun.promise;
  await running[Symbol.asyncDispose]();
  expect({ runs, cleaned, others, lines }).toEqual({
    runs: 1,
    cleaned: true,
    others: 1,
    lines: [],
  });
});
