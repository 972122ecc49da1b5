import { expect, test } from "bun:test";
import fc from "fast-check";
import { openInProcess, type InProcess } from "../support/in-process.ts";
import {
  digestOf,
  EMPTY_JSON,
  imageOf,
  indexOf,
  OCI_IMAGE,
  OCI_INDEX,
  referrerOf,
} from "./support/content.ts";
import { checkedErrors } from "./support/errors.ts";
import { openSession, pushBlob, pushImage } from "./support/requests.ts";

const SUBJECT = { mediaType: OCI_IMAGE, digest: digestOf("subject"), size: 7 };
const MANIFESTS = [
  imageOf([]),
  imageOf([EMPTY_JSON]),
  imageOf(["missing"]),
  indexOf([]),
  indexOf([SUBJECT]),
  referrerOf(SUBJECT, "a/b"),
  "{}",
  "[]",
  '{"a":1,"a":2}',
  "",
];

const word = fc.constantFrom(
  "a",
  "b",
  "a/b",
  "a-b",
  "A",
  "..",
  "%2e%2e",
  "blobs",
  "manifests",
  "uploads",
);
const digest = fc.oneof(
  fc.constantFrom(digestOf(EMPTY_JSON), ...MANIFESTS.map((text) => digestOf(text))),
  fc.constantFrom(digestOf("", "sha512"), "sha256:x", "md5:1", "blake3:00", "sha256%3Aab", ""),
);
const tag = fc.constantFrom(
  "v1",
  "latest",
  "-bad",
  "x".repeat(128),
  "x".repeat(129),
  "%00",
  "é",
  "",
);
const text = fc.oneof(fc.string({ unit: "binary", maxLength: 40 }), fc.webSegment());

const path = fc.oneof(
  fc.tuple(word, fc.oneof(tag, digest)).map(([name, ref]) => `/v2/${name}/manifests/${ref}`),
  fc.tuple(word, digest).map(([name, d]) => `/v2/${name}/blobs/${d}`),
  fc.tuple(word, digest).map(([name, d]) => `/v2/${name}/referrers/${d}`),
  word.map((name) => `/v2/${name}/blobs/uploads/`),
  fc
    .tuple(word, text)
    .map(([name, id]) => `/v2/${name}/blobs/uploads/${encodeURIComponent(id.toWellFormed())}`),
  word.map((name) => `/v2/${name}/tags/list`),
  fc.constantFrom("/v2/", "/v2", "/v2/_catalog", "/", "/healthz", "/readyz", "SESSION", "SESSION"),
  fc.array(fc.oneof(word, text, digest), { maxLength: 6 }).map((parts) => `/v2/${parts.join("/")}`),
  text.map((garbage) => `/${garbage}`),
);

const parameter = fc.oneof(
  fc.tuple(fc.constantFrom("digest", "mount"), digest),
  fc.tuple(fc.constantFrom("from", "last", "artifactType", "ns", "tag"), fc.oneof(word, text, tag)),
  fc.tuple(
    fc.constant("n"),
    fc.oneof(fc.integer().map(String), fc.constantFrom("0", "1e9", "x", "")),
  ),
  fc.tuple(fc.constant("digest-algorithm"), fc.constantFrom("sha256", "sha512", "x", "")),
  fc.tuple(text, text),
);

const span = fc.oneof(
  fc.tuple(fc.nat(30), fc.nat(30)).map(([a, b]) => `${a}-${b}`),
  fc.constantFrom("bytes 0-1/2", "x", "", "-", "0-", "9007199254740993-9007199254740994"),
);
const etag = fc.oneof(
  digest.map((d) => `"${d}"`),
  fc.constantFrom("*", '""', "W/", ",", '"'),
);
const header = fc.oneof(
  fc.tuple(fc.constant("content-range"), span),
  fc.tuple(
    fc.constant("range"),
    fc.oneof(
      span.map((s) => `bytes=${s}`),
      fc.constantFrom("bytes=-1", "bytes=0-0,-1", "x=y"),
    ),
  ),
  fc.tuple(fc.constantFrom("if-match", "if-none-match", "if-range"), etag),
  fc.tuple(
    fc.constant("content-type"),
    fc.constantFrom(OCI_IMAGE, OCI_INDEX, "application/x+json; a=b", "text/html", "", "x"),
  ),
  fc.tuple(
    fc.constantFrom("accept", "x-request-id", "user-agent"),
    fc.base64String({ maxLength: 20 }),
  ),
);

const request = fc.record({
  method: fc.constantFrom("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"),
  path,
  query: fc.array(parameter, { maxLength: 3 }),
  encoded: fc.boolean(),
  headers: fc.array(header, { maxLength: 3 }),
  body: fc.oneof(
    fc.constantFrom(...MANIFESTS, EMPTY_JSON),
    fc.string({ maxLength: 100 }),
    fc.uint8Array({ maxLength: 100 }).map((bytes) => new Uint8Array(bytes)),
  ),
});

type Random = typeof request extends fc.Arbitrary<infer T> ? T : never;

async function send(registry: InProcess, location: string, random: Random): Promise<void> {
  const { method, query, encoded } = random;
  const encode = (value: string): string =>
    encoded ? encodeURIComponent(value.toWellFormed()) : value;
  const search = query.map(([key, value]) => `${encode(key)}=${encode(value)}`).join("&");
  const target = random.path === "SESSION" ? location : random.path;
  const path = search === "" ? target : `${target}?${search}`;
  const bodiless = method === "GET" || method === "HEAD";
  const response = await registry.handle(path, {
    method,
    headers: Object.fromEntries(random.headers),
    ...(bodiless ? {} : { body: random.body }),
  });
  const { status } = response;
  expect(status).toBeGreaterThanOrEqual(200);
  expect(status).toBeLessThan(500);
  expect(response.headers.has("X-Request-Id")).toBe(true);
  const body = await response.text();
  if (method === "HEAD") return expect(status < 400 ? "" : body).toBe("");
  const health = target.startsWith("/healthz") || target.startsWith("/readyz");
  // A range that cannot be satisfied says all in its Content-Range.
  const emptyRange = status === 416 && response.headers.has("Accept-Ranges");
  if (status >= 400 && !health && !emptyRange) {
    checkedErrors(response.headers.get("Content-Type"), body);
  }
}

test("no request of the grammar or of garbage meets a 5xx, and every refusal has the form of one", async () => {
  await using registry = await openInProcess();
  await pushBlob(registry.handle, "a", EMPTY_JSON);
  await pushImage(registry.handle, "a", "v1");
  let location = await openSession(registry.handle, "a");
  await fc.assert(
    fc.asyncProperty(request, async (random) => {
      if (random.path === "SESSION" && random.method !== "PATCH") {
        location = await openSession(registry.handle, "a");
      }
      await send(registry, location, random);
    }),
    { numRuns: 4000 },
  );
  expect(registry.requests.filter(({ status }) => status >= 500)).toEqual([]);
}, 60_000);
