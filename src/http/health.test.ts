import { describe, expect, test } from "bun:test";
import { healthAnswer } from "./health.ts";

const READY = { ready: true, reasons: [] };
const NOT_READY = { ready: false, reasons: ["draining", "disk full"] };

describe("health", () => {
  test("alive means that it answers, ready or not", async () => {
    const answer = healthAnswer("/healthz", "GET", () => {
      throw new Error("asked whether it is ready");
    });
    expect(answer?.status).toBe(200);
  });

  test("ready says so, and if not, why", async () => {
    const ready = healthAnswer("/readyz", "GET", () => READY);
    expect([ready?.status, await ready?.json()]).toEqual([200, READY]);
    const not = healthAnswer("/readyz", "HEAD", () => NOT_READY);
    expect([not?.status, await not?.json()]).toEqual([503, NOT_READY]);
  });

  test("is asked for by GET and HEAD", () => {
    for (const method of ["POST", "PUT", "DELETE", "get"]) {
      const answer = healthAnswer("/readyz", method, () => READY);
      expect([answer?.status, answer?.headers.get("allow")]).toEqual([405, "GET, HEAD"]);
    }
  });

  test.each(["/", "/healthz/", "//healthz", "/readyz/x", "/v2/healthz", "/HEALTHZ", "/%68ealthz"])(
    "is not at %p",
    (path) => expect(healthAnswer(path, "GET", () => READY)).toBeUndefined(),
  );
});
