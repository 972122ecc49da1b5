import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { startServer, type TestServer } from "../support/server.ts";
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
  let server: TestServer | undefined;
  let results: CheckResult[] = [];

  beforeAll(async () => {
    server = await startServer({ workers: 2, env });
    results = await runConformance({
      url: server.url,
      repo1: "conformance/repo1",
      repo2: "conformance/repo2",
      sparse,
    });
  }, RUN_TIMEOUT_MS);

  afterAll(async () => {
    await server?.stop();
  });

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
