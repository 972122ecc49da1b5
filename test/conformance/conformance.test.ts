import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { startBalanced } from "../support/nodes.ts";
import { startServer } from "../support/server.ts";
import { storesOfSuite } from "../support/shared-place.ts";
import type { CheckResult } from "./report.ts";
import { conformanceGroups, runConformance } from "./suite.ts";

const RUN_TIMEOUT_MS = 120_000;

/** Fewer checks than this means that the suite did not run what it is there to run. */
const RUNS = [
  { name: "by default", sparse: false, atLeast: 1001, env: {} },
  {
    name: "with sparse manifests",
    sparse: true,
    atLeast: 1052,
    env: { HOLDFAST_VALIDATION_MISSING_BLOBS: "accept" },
  },
];

describe.each(RUNS)("conformance $name", ({ sparse, atLeast, env }) => {
  const held = new AsyncDisposableStack();
  let results: CheckResult[] = [];

  beforeAll(async () => {
    results = await runConformance({
      url: await start(held, env),
      repo1: "conformance/repo1",
      repo2: "conformance/repo2",
      sparse,
    });
  }, RUN_TIMEOUT_MS);

  afterAll(async () => held.disposeAsync());

  test.each(conformanceGroups(sparse))("%s", (group) => {
    const ofGroup = results.filter(({ name }) => name === group || name.startsWith(`${group}/`));
    const notPassed = ofGroup
      .filter(({ status }) => status !== "pass")
      .map(({ name, status, detail }) => `${status} ${name}: ${detail ?? ""}`);
    expect(notPassed).toEqual([]);
    expect(ofGroup).not.toBeEmpty();
  });

  test("nothing was left out", () => {
    expect(results.length).toBeGreaterThanOrEqual(atLeast);
    expect(results.filter(({ status }) => status !== "pass")).toEqual([]);
  });
});

/** The URL of one server or, on shared engines, of what stands before two nodes. */
async function start(held: AsyncDisposableStack, env: Record<string, string>): Promise<string> {
  const kind = storesOfSuite();
  if (kind === undefined) return held.use(await startServer({ workers: 2, env })).url;
  return held.use(await startBalanced(kind, { env })).balancer.url;
}
