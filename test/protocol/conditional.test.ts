import { expect, test } from "bun:test";
import { openInProcess } from "../support/in-process.ts";
import { digestOf, EMPTY_JSON, imageOf } from "./support/content.ts";
import { expectError } from "./support/errors.ts";
import { pushBlob, pushImage, pushManifest, putManifest } from "./support/requests.ts";
import { interceptCommits, recordsOf } from "./support/stores.ts";

const [FIRST, SECOND, THIRD] = ["1", "2", "3"].map((n) => imageOf([], { annotations: { n } }));
if (FIRST === undefined || SECOND === undefined || THIRD === undefined) throw new Error("no texts");

test("what the client has already is answered 304, its ETag quoted, weak, unquoted or one of several", async () => {
  await using registry = await openInProcess();
  const { digest, layer } = await pushImage(registry.handle, "a", "v1");
  const cases: readonly [string, string][] = [
    ["/v2/a/manifests/v1", digest],
    [`/v2/a/manifests/${digest}`, digest],
    [`/v2/a/blobs/${layer}`, layer],
  ];
  for (const [path, etag] of cases) {
    for (const sent of [`"${etag}"`, etag, `W/"${etag}"`, `"other", "${etag}"`, "*"]) {
      for (const method of ["GET", "HEAD"]) {
        const response = await registry.handle(path, {
          method,
          headers: { "If-None-Match": sent },
        });
        expect(response.status).toBe(304);
        expect(response.headers.get("ETag")).toBe(`"${etag}"`);
        expect(await response.text()).toBe("");
      }
    }
    const other = await registry.handle(path, { headers: { "If-None-Match": '"other"' } });
    expect(other.status).toBe(200);
  }
});

test("a push with If-None-Match: * makes a tag and never moves one", async () => {
  await using registry = await openInProcess();
  await pushBlob(registry.handle, "a", EMPTY_JSON);
  const condition = { "If-None-Match": "*" };
  const made = await putManifest(registry.handle, "a", "v1", FIRST, condition);
  expect(made.status).toBe(201);
  const refused = await putManifest(registry.handle, "a", "v1", SECOND, condition);
  expect(refused.headers.get("ETag")).toBe(`"${digestOf(FIRST)}"`);
  await expectError(refused, 412, "DENIED");
  expect(await (await registry.handle("/v2/a/manifests/v1")).text()).toBe(FIRST);
});

test("a push with If-Match moves a tag only from where the client saw it", async () => {
  await using registry = await openInProcess();
  await pushBlob(registry.handle, "a", EMPTY_JSON);
  const ifMatch = (text: string): Record<string, string> => ({ "If-Match": `"${digestOf(text)}"` });
  const absent = await putManifest(registry.handle, "a", "v1", FIRST, ifMatch(FIRST));
  await expectError(absent, 412, "DENIED");
  await pushManifest(registry.handle, "a", "v1", FIRST);
  expect((await putManifest(registry.handle, "a", "v1", SECOND, ifMatch(FIRST))).status).toBe(201);
  const late = await putManifest(registry.handle, "a", "v1", THIRD, ifMatch(FIRST));
  await expectError(late, 412, "DENIED");
  const unquoted = { "If-Match": digestOf(SECOND) };
  expect((await putManifest(registry.handle, "a", "v1", THIRD, unquoted)).status).toBe(201);
});

test("of twenty clients that move a tag from the same digest one succeeds", async () => {
  await using registry = await openInProcess();
  await pushBlob(registry.handle, "a", EMPTY_JSON);
  await pushManifest(registry.handle, "a", "v1", FIRST);
  const condition = { "If-Match": `"${digestOf(FIRST)}"` };
  const texts = Array.from({ length: 20 }, (_, i) => imageOf([], { annotations: { i: `${i}` } }));
  const responses = await Promise.all(
    texts.map(async (text) => putManifest(registry.handle, "a", "v1", text, condition)),
  );
  const statuses = responses.map(({ status }) => status).sort((a, b) => a - b);
  expect(statuses).toEqual([201, ...Array.from({ length: 19 }, () => 412)]);
});

test("a refused push leaves nothing behind", async () => {
  await using registry = await openInProcess();
  await pushBlob(registry.handle, "a", EMPTY_JSON);
  await pushManifest(registry.handle, "a", "v1", FIRST);
  await putManifest(registry.handle, "a", "v1", SECOND, { "If-None-Match": "*" });
  const path = `/v2/a/manifests/${digestOf(SECOND)}`;
  await expectError(await registry.handle(path), 404, "MANIFEST_UNKNOWN");
});

test("a tag that died with its manifest counts as absent to a condition", async () => {
  let dying = false;
  await using registry = await openInProcess({
    // The delete is cut short after its first commit, so that its later tags are left to be swept.
    wrapMeta: (meta) =>
      interceptCommits(meta, async (commit) => {
        if (dying && commit.delete?.some((key) => key.startsWith("manifest!")) !== true)
          throw new Error("the server was killed here");
        return meta.commit(commit);
      }),
  });
  await pushBlob(registry.handle, "a", EMPTY_JSON);
  for (let i = 10; i < 50; i++) await pushManifest(registry.handle, "a", `v${i}`, FIRST);
  dying = true;
  await registry.handle(`/v2/a/manifests/${digestOf(FIRST)}`, { method: "DELETE" });
  dying = false;
  expect((await registry.handle("/v2/a/manifests/v49")).status).toBe(404);
  expect(await recordsOf(registry.meta, "tag!a!v49")).toHaveLength(1);
  const stale = { "If-Match": `"${digestOf(FIRST)}"` };
  await expectError(await putManifest(registry.handle, "a", "v49", SECOND, stale), 412, "DENIED");
  const fresh = { "If-None-Match": "*" };
  expect((await putManifest(registry.handle, "a", "v49", SECOND, fresh)).status).toBe(201);
});
