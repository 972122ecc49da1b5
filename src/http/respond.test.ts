import { describe, expect, test } from "bun:test";
import { BlobStoreFull, BlobStoreUnavailable } from "../blobs/port.ts";
import { StoreCorrupt, StoreFull, StoreUnavailable } from "../meta/port.ts";
import { OciError } from "../oci/errors.ts";
import { answer, asOciError, errorAnswer, json } from "./respond.ts";

describe("an answer", () => {
  test("carries the API's version and forbids a browser to make anything of it", () => {
    for (const response of [
      answer(202, {}),
      json(200, {}),
      errorAnswer(new OciError("DENIED"), "GET"),
    ]) {
      expect(response.headers.get("docker-distribution-api-version")).toBe("registry/2.0");
      expect(response.headers.get("x-content-type-options")).toBe("nosniff");
      expect(response.headers.get("content-security-policy")).toContain("sandbox");
    }
  });

  test("of JSON may be of another type", async () => {
    const response = json(200, { a: 1 }, { "Content-Type": "application/x+json" });
    expect(response.headers.get("content-type")).toBe("application/x+json");
    expect(await response.json()).toEqual({ a: 1 });
  });
});

describe("a failure", () => {
  test.each<[string, unknown, string, number]>([
    ["of the protocol", new OciError("BLOB_UNKNOWN"), "BLOB_UNKNOWN", 404],
    ["of a full disk", new BlobStoreFull("x"), "INSUFFICIENT_STORAGE", 507],
    ["of full metadata", new StoreFull("x"), "INSUFFICIENT_STORAGE", 507],
    ["of storage", new BlobStoreUnavailable("x"), "UNAVAILABLE", 503],
    ["of metadata", new StoreUnavailable("x"), "UNAVAILABLE", 503],
    ["of what metadata says", new StoreCorrupt("secret path"), "UNKNOWN", 500],
    ["of ours", new TypeError("secret path"), "UNKNOWN", 500],
    ["that is a text", "secret path", "UNKNOWN", 500],
    ["that is nothing", undefined, "UNKNOWN", 500],
  ])("%s is told by its code, and nothing of our own", (_, error, code, status) => {
    const known = asOciError(error);
    expect([known.code as string, known.status]).toEqual([code, status]);
    expect(JSON.stringify(known)).not.toContain("secret");
  });

  test("of a store says when to come again", () => {
    const response = errorAnswer(asOciError(new StoreUnavailable("x")), "PUT");
    expect(response.headers.get("retry-after")).toBe("1");
  });

  test("has the specification's body, and none on HEAD", async () => {
    const error = new OciError("NAME_INVALID", "no", { headers: { Allow: "GET" } });
    const get = errorAnswer(error, "GET");
    expect(get.headers.get("content-type")).toBe("application/json");
    expect(await get.json()).toEqual({ errors: [{ code: "NAME_INVALID", message: "no" }] });
    const head = errorAnswer(error, "HEAD");
    expect([head.status, head.headers.get("allow"), await head.text()]).toEqual([400, "GET", ""]);
  });
});
