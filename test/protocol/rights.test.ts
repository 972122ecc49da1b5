import { expect, test } from "bun:test";
import { openInProcess } from "../support/in-process.ts";
import { digestOf } from "./support/content.ts";
import { expectError } from "./support/errors.ts";

const D = digestOf("x");

/** Every method of every endpoint, with the right it takes. */
const MATRIX: readonly [string, string, "pull" | "push" | "delete"][] = [
  ["GET", "/v2/_catalog", "pull"],
  ["GET", "/v2/a/tags/list", "pull"],
  ["HEAD", "/v2/a/manifests/v1", "pull"],
  ["GET", "/v2/a/manifests/v1", "pull"],
  ["GET", `/v2/a/blobs/${D}`, "pull"],
  ["HEAD", `/v2/a/blobs/${D}`, "pull"],
  ["GET", `/v2/a/referrers/${D}`, "pull"],
  ["PUT", "/v2/a/manifests/v1", "push"],
  ["POST", "/v2/a/blobs/uploads/", "push"],
  ["POST", `/v2/a/blobs/uploads/?mount=${D}&from=b`, "push"],
  ["POST", `/v2/a/blobs/uploads/?digest=${D}`, "push"],
  ["GET", "/v2/a/blobs/uploads/id", "push"],
  ["PATCH", "/v2/a/blobs/uploads/id", "push"],
  ["PUT", `/v2/a/blobs/uploads/id?digest=${D}`, "push"],
  ["DELETE", "/v2/a/blobs/uploads/id", "push"],
  ["DELETE", "/v2/a/manifests/v1", "delete"],
  ["DELETE", `/v2/a/manifests/${D}`, "delete"],
  ["DELETE", `/v2/a/blobs/${D}`, "delete"],
];

test("where delete is off, Allow lists the other methods of the path that the caller may use", async () => {
  const allowed = async (rights: readonly string[], method: string, path: string) => {
    const env = { HOLDFAST_AUTH_ANONYMOUS: JSON.stringify(rights) };
    await using registry = await openInProcess({ env });
    return (await registry.handle(path, { method })).headers.get("Allow");
  };
  const [blob, manifest] = [`/v2/a/blobs/${D}`, "/v2/a/manifests/v1"];
  expect(await allowed(["pull", "push"], "DELETE", blob)).toBe("GET, HEAD");
  expect(await allowed(["pull", "push"], "DELETE", manifest)).toBe("GET, HEAD, PUT");
  expect(await allowed(["pull"], "DELETE", manifest)).toBe("GET, HEAD");
  expect(await allowed(["pull"], "PATCH", manifest)).toBe("GET, HEAD");
});

for (const missing of ["pull", "push", "delete"] as const) {
  test(`without the right to ${missing} exactly the requests that need it are refused`, async () => {
    const rights = ["pull", "push", "delete"].filter((right) => right !== missing);
    await using registry = await openInProcess({
      env: { HOLDFAST_AUTH_ANONYMOUS: JSON.stringify(rights) },
    });
    for (const [method, path, right] of MATRIX) {
      const response = await registry.handle(path, { method });
      const refused = missing === "delete" ? 405 : 403;
      const label = `${method} ${path}`;
      if (right !== missing) {
        expect([label, response.status]).not.toEqual([label, refused]);
      } else if (method === "HEAD") {
        expect([label, response.status, await response.text()]).toEqual([label, refused, ""]);
      } else {
        await expectError(response, refused, missing === "delete" ? "UNSUPPORTED" : "DENIED");
      }
    }
  });
}
