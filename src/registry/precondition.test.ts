import { describe, expect, test } from "bun:test";
import { parseDigest } from "../oci/digest.ts";
import { OciError } from "../oci/errors.ts";
import { checkPrecondition, type Precondition } from "./precondition.ts";

const A = parseDigest(`sha256:${"a".repeat(64)}`);
const B = parseDigest(`sha256:${"b".repeat(64)}`);
if (A === undefined || B === undefined) throw new Error("digests are not digests");

describe("a precondition", () => {
  // What it asks, whether it holds where nothing is, where A is, where B is: RFC 9110 §13.1.
  test.each<[Precondition, boolean, boolean, boolean]>([
    [{}, true, true, true],
    [{ ifMatch: "*" }, false, true, true],
    [{ ifMatch: [A] }, false, true, false],
    [{ ifMatch: [B, A] }, false, true, true],
    [{ ifMatch: [] }, false, false, false],
    [{ ifNoneMatch: "*" }, true, false, false],
    [{ ifNoneMatch: [A] }, true, false, true],
    [{ ifNoneMatch: [] }, true, true, true],
    [{ ifMatch: [A], ifNoneMatch: [A] }, false, false, false],
    [{ ifMatch: "*", ifNoneMatch: [B] }, false, true, false],
  ])("%j", (precondition, ...holds) => {
    [undefined, A, B].forEach((shown, i) => {
      const check = () => checkPrecondition(precondition, shown);
      if (holds[i] === true) expect(check).not.toThrow();
      else expect(check).toThrow(OciError);
    });
  });

  test("that fails says what is there", () => {
    expect(() => checkPrecondition({ ifMatch: [B] }, A)).toThrow(
      expect.objectContaining({
        code: "DENIED",
        status: 412,
        headers: { ETag: `"${A}"` },
        detail: { shown: A },
      }),
    );
    expect(() => checkPrecondition({ ifMatch: [B] }, undefined)).toThrow(
      expect.objectContaining({ status: 412, headers: {}, detail: { shown: null } }),
    );
  });
});
