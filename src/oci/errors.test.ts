import { describe, expect, test } from "bun:test";
import { OciError } from "./errors.ts";

describe("an error of the protocol", () => {
  test("has its code's own status and message unless told otherwise", () => {
    const plain = new OciError("BLOB_UNKNOWN");
    expect([plain.status, plain.message]).toEqual([404, "blob unknown to the repository"]);
    const special = new OciError("SIZE_INVALID", "too long", { status: 413 });
    expect([special.status, special.message]).toEqual([413, "too long"]);
  });

  test("is written as a list of errors, detail left out where there is none", () => {
    const error = new OciError("MANIFEST_BLOB_UNKNOWN", "first", {
      more: [{ message: "second", detail: { digest: "x" } }],
    });
    expect(JSON.parse(JSON.stringify(error))).toEqual({
      errors: [
        { code: "MANIFEST_BLOB_UNKNOWN", message: "first" },
        { code: "MANIFEST_BLOB_UNKNOWN", message: "second", detail: { digest: "x" } },
      ],
    });
  });

  // distribution-spec §Error codes, with the statuses its endpoint tables give.
  test.each([
    ["BLOB_UNKNOWN", 404],
    ["BLOB_UPLOAD_INVALID", 416],
    ["BLOB_UPLOAD_UNKNOWN", 404],
    ["DIGEST_INVALID", 400],
    ["MANIFEST_BLOB_UNKNOWN", 404],
    ["MANIFEST_INVALID", 400],
    ["MANIFEST_UNKNOWN", 404],
    ["NAME_INVALID", 400],
    ["NAME_UNKNOWN", 404],
    ["SIZE_INVALID", 400],
    ["UNAUTHORIZED", 401],
    ["DENIED", 403],
    ["UNSUPPORTED", 405],
    ["TOOMANYREQUESTS", 429],
  ] as const)("%p answers %p", (code, status) => expect(new OciError(code).status).toBe(status));
});
