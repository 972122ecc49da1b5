import { expect, test } from "bun:test";
import { openInProcess, type InProcess } from "../support/in-process.ts";
import { digestOf, EMPTY_JSON, imageOf, indexOf, OCI_IMAGE, OCI_INDEX } from "./support/content.ts";
import { expectError } from "./support/errors.ts";
import { openSession, pushBlob, put, putManifest } from "./support/requests.ts";
import { Writes } from "./support/stores.ts";

interface Counted extends AsyncDisposable {
  readonly registry: InProcess;
  readonly writes: Writes;
}

async function counted(): Promise<Counted> {
  const writes = new Writes();
  const registry = await openInProcess({ wrapMeta: writes.meta, wrapBlobs: writes.blobs });
  await pushBlob(registry.handle, "a", EMPTY_JSON);
  return { registry, writes, [Symbol.asyncDispose]: async () => registry[Symbol.asyncDispose]() };
}

const BAD_NAMES = [
  "A",
  "a//b",
  "a/",
  ".a",
  "a.",
  "a..b",
  "a_-b",
  "a___b",
  "-a",
  "a:b",
  "a@b",
  "ü",
  "a%20b",
  "..%2Fa",
  "a/..%2F..",
  "%2e%2e%2fa",
  "a%00",
  "a%2Fb",
  "a%5Cb",
  "a".repeat(256),
];

test("a malformed repository name is refused everywhere, without a write", async () => {
  await using scene = await counted();
  const { registry, writes } = scene;
  const before = writes.count;
  for (const name of BAD_NAMES) {
    for (const [method, path] of [
      ["GET", "tags/list"],
      ["GET", "manifests/v1"],
      ["PUT", "manifests/v1"],
      ["DELETE", "manifests/v1"],
      ["GET", `blobs/${digestOf("x")}`],
      ["GET", `referrers/${digestOf("x")}`],
      ["POST", "blobs/uploads/"],
      ["PATCH", "blobs/uploads/id"],
    ] as const) {
      const body = method === "PUT" || method === "PATCH" ? { body: "x" } : {};
      const response = await registry.handle(`/v2/${name}/${path}`, { method, ...body });
      await expectError(response, 400, "NAME_INVALID");
    }
  }
  expect(writes.count).toBe(before);
});

test("a malformed percent-encoding is no path of the API", async () => {
  await using scene = await counted();
  for (const path of [
    "/v2/%/tags/list",
    "/v2/a/tags/list%",
    "/v2/a/manifests/%zz",
    "/v2/%ff/tags/list",
  ]) {
    await expectError(await scene.registry.handle(path), 404, "UNSUPPORTED");
  }
});

const BAD_IDS = [
  "..%2F..%2Fmetadata%2Fholdfast.db",
  "..",
  "%2e%2e",
  ".",
  "%00",
  "a%00b",
  "x".repeat(10_000),
  "put-abcdefgh",
  "..%5C..",
  "%2Fetc%2Fpasswd",
  "A".repeat(43),
  "ü",
  "-",
  "00000000-0000-0000",
];

test("an upload id that is none of ours is unknown, whatever it spells", async () => {
  await using scene = await counted();
  const { registry, writes } = scene;
  const before = writes.count;
  for (const id of BAD_IDS.filter((id) => !/^(?:\.|%2e)+$/i.test(id))) {
    const path = `/v2/a/blobs/uploads/${id}`;
    const requests: readonly [string, string][] = [
      ["GET", path],
      ["PATCH", path],
      ["PUT", `${path}?digest=${digestOf("x")}`],
      ["DELETE", path],
    ];
    for (const [method, target] of requests) {
      const body = method === "PATCH" || method === "PUT" ? { body: "x" } : {};
      const response = await registry.handle(target, { method, ...body });
      await expectError(response, 404, "BLOB_UPLOAD_UNKNOWN");
    }
  }
  expect(writes.count).toBe(before);
});

test("a malformed digest in a path is refused", async () => {
  await using scene = await counted();
  const { registry, writes } = scene;
  const before = writes.count;
  const good = digestOf("x");
  const digests = [
    "sha256:",
    "sha256:abc",
    `${good}0`,
    good.toUpperCase(),
    `md5:${"0".repeat(32)}`,
  ];
  for (const digest of [
    ...digests,
    `sha256:${"g".repeat(64)}`,
    "sha256:..%2F..",
    "sha256:%00",
    ":",
  ]) {
    for (const method of ["GET", "DELETE"]) {
      for (const kind of ["blobs", "manifests"]) {
        const response = await registry.handle(`/v2/a/${kind}/${digest}`, { method });
        await expectError(response, 400, "DIGEST_INVALID");
      }
    }
    const pushed = await putManifest(registry.handle, "a", digest, imageOf([]));
    await expectError(pushed, 400, "DIGEST_INVALID");
  }
  expect(writes.count).toBe(before);
});

test("a parameter that may be given once is refused when it is given twice", async () => {
  await using scene = await counted();
  const { registry, writes } = scene;
  const digest = digestOf("x");
  const location = await openSession(registry.handle, "a");
  const before = writes.count;
  const twice = `digest=${digest}&digest=${digestOf("y")}`;
  await expectError(await put(registry.handle, `${location}?${twice}`, "x"), 400, "DIGEST_INVALID");
  const uploads = "/v2/a/blobs/uploads/";
  for (const [method, path, code] of [
    ["POST", `${uploads}?${twice}`, "DIGEST_INVALID"],
    ["POST", `${uploads}?mount=${digest}&mount=${digest}`, "UNSUPPORTED"],
    ["POST", `${uploads}?mount=${digest}&from=a&from=b`, "UNSUPPORTED"],
    ["POST", `${uploads}?digest-algorithm=sha256&digest-algorithm=sha512`, "UNSUPPORTED"],
    ["GET", "/v2/a/tags/list?n=1&n=2", "UNSUPPORTED"],
    ["GET", "/v2/_catalog?last=a&last=b", "UNSUPPORTED"],
    ["GET", `/v2/a/referrers/${digest}?artifactType=a&artifactType=b`, "UNSUPPORTED"],
  ] as const) {
    await expectError(await registry.handle(path, { method }), 400, code);
  }
  expect(writes.count).toBe(before);
});

function nested(depth: number, open: string, close: string): string {
  return open.repeat(depth) + close.repeat(depth);
}

const BOMBS: readonly [string, string][] = [
  ["no JSON", "not json"],
  ["nothing", ""],
  ["an unfinished text", imageOf([]).slice(0, -1)],
  ["two documents", imageOf([]) + imageOf([])],
  ["a list", "[]"],
  ["a string", '"text"'],
  ["null", "null"],
  ["a number", "1e999"],
  ["lists nested 100,000 deep", nested(100_000, "[", "]")],
  ["objects nested 100,000 deep", `${'{"a":'.repeat(100_000)}1${"}".repeat(100_000)}`],
  ["an annotation nested 65 deep", imageOf([], { x: 0 }).replace("0", nested(65, "[", "]"))],
  ["two schemaVersions", imageOf([]).replace("{", '{"schemaVersion":2,')],
  ["equal keys in different spelling", imageOf([]).replace("{", '{"schema\\u0056ersion":2,')],
  [
    "equal keys deep inside",
    imageOf([], { annotations: { z: "1" } }).replace('"z":"1"', '"z":"1","z":"2"'),
  ],
  ["no schemaVersion", imageOf([], { schemaVersion: undefined })],
  ["schemaVersion 1", imageOf([], { schemaVersion: 1 })],
  ["a schemaVersion in quotes", imageOf([], { schemaVersion: "2" })],
  ["no config", imageOf([], { config: undefined })],
  ["a config that is a list", imageOf([], { config: [] })],
  ["layers that are an object", imageOf([], { layers: {} })],
  ["layers of strings", imageOf([], { layers: ["x"] })],
  ["no layers", imageOf([], { layers: undefined })],
  ["a layer without a digest", imageOf([], { layers: [{ mediaType: "a/b", size: 1 }] })],
  [
    "a malformed digest",
    imageOf([], { layers: [{ mediaType: "a/b", size: 1, digest: "sha256:x" }] }),
  ],
  [
    "a negative size",
    imageOf([], { layers: [{ mediaType: "a/b", size: -1, digest: digestOf("x") }] }),
  ],
  [
    "half a byte",
    imageOf([], { layers: [{ mediaType: "a/b", size: 0.5, digest: digestOf("x") }] }),
  ],
  ["an annotation that is a number", imageOf([], { annotations: { a: 1 } })],
  ["annotations that are a list", imageOf([], { annotations: ["a"] })],
  ["a subject that is a string", imageOf([], { subject: digestOf("x") })],
  ["a mediaType that is a number", imageOf([], { mediaType: 7 })],
  ["a byte order mark", `\uFEFF${imageOf([])}`],
];

for (const [what, text] of BOMBS) {
  test(`a manifest that is ${what} is refused at once, without a write`, async () => {
    await using scene = await counted();
    const before = scene.writes.count;
    const refused = await putManifest(scene.registry.handle, "a", "v1", text);
    await expectError(refused, 400, "MANIFEST_INVALID");
    expect(scene.writes.count).toBe(before);
  });
}

test("a manifest that is not UTF-8 is refused", async () => {
  await using scene = await counted();
  const bytes = new Uint8Array(Buffer.from(imageOf([], { annotations: { a: "?" } })));
  bytes[bytes.indexOf(0x3f)] = 0xff;
  const refused = await put(scene.registry.handle, "/v2/a/manifests/v1", bytes, {
    "Content-Type": OCI_IMAGE,
  });
  await expectError(refused, 400, "MANIFEST_INVALID");
});

test("an index without manifests, or with something else there, is refused", async () => {
  await using scene = await counted();
  for (const manifests of [undefined, {}, "x", [1], [null]]) {
    const headers = { "Content-Type": OCI_INDEX };
    const text = indexOf([], { manifests });
    const refused = await putManifest(scene.registry.handle, "a", "v1", text, headers);
    await expectError(refused, 400, "MANIFEST_INVALID");
  }
});

test("a wrong digest of a small blob, a missing blob and a failed condition write nothing", async () => {
  await using scene = await counted();
  const { registry, writes } = scene;
  const location = await openSession(registry.handle, "a");
  const before = writes.count;
  const wrong = await put(registry.handle, `${location}?digest=${digestOf("x")}`, "y");
  await expectError(wrong, 400, "DIGEST_INVALID");
  const missing = await putManifest(registry.handle, "a", "v1", imageOf(["missing"]));
  await expectError(missing, 404, "MANIFEST_BLOB_UNKNOWN");
  const failed = await putManifest(registry.handle, "a", "v1", imageOf([]), { "If-Match": '"x"' });
  await expectError(failed, 412, "DENIED");
  const wrongDigest = await putManifest(registry.handle, "a", digestOf("x"), imageOf([]));
  await expectError(wrongDigest, 400, "DIGEST_INVALID");
  for (const path of [
    "manifests/none",
    `blobs/${digestOf("none")}`,
    `manifests/${digestOf("none")}`,
  ]) {
    expect((await registry.handle(`/v2/a/${path}`, { method: "DELETE" })).status).toBe(404);
  }
  expect(writes.count).toBe(before);
});
