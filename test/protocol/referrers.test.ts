import { expect, test } from "bun:test";
import { openInProcess, type InProcess } from "../support/in-process.ts";
import {
  descriptorOf,
  digestOf,
  EMPTY_JSON,
  imageOf,
  indexOf,
  OCI_EMPTY,
  OCI_IMAGE,
  OCI_INDEX,
  referrerOf,
  type Json,
} from "./support/content.ts";
import { expectError } from "./support/errors.ts";
import { header, nextOf, pushBlob, pushManifest, putManifest } from "./support/requests.ts";

const SUBJECT = imageOf([], { annotations: { "org.example": "subject" } });
const subject = descriptorOf(OCI_IMAGE, SUBJECT);
const PATH = `/v2/a/referrers/${subject.digest}`;
const BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json";

interface Listed {
  readonly digest: string;
  readonly mediaType: string;
  readonly size: number;
  readonly artifactType?: string;
  readonly annotations?: Json;
}

async function listed(registry: InProcess, path: string): Promise<Listed[]> {
  const response = await registry.handle(path);
  expect(response.status).toBe(200);
  // Exactly this string tells oras that the API is there.
  expect(response.headers.get("Content-Type")).toBe(OCI_INDEX);
  const index = (await response.json()) as Json;
  expect(index["schemaVersion"]).toBe(2);
  expect(index["mediaType"]).toBe(OCI_INDEX);
  return index["manifests"] as Listed[];
}

async function opened(env: Record<string, string> = {}): Promise<InProcess> {
  const registry = await openInProcess({ env });
  await pushBlob(registry.handle, "a", EMPTY_JSON);
  return registry;
}

test("what nobody refers to has an empty list, in repositories that do not exist too", async () => {
  await using registry = await opened();
  for (const path of [PATH, `/v2/none/referrers/sha256:${"0".repeat(64)}`]) {
    expect(await listed(registry, path)).toEqual([]);
  }
});

test("a malformed digest is refused", async () => {
  await using registry = await opened();
  for (const digest of ["sha256:x", "v1", "sha256:", `md5:${"0".repeat(32)}`]) {
    const refused = await registry.handle(`/v2/a/referrers/${digest}`);
    await expectError(refused, 400, "DIGEST_INVALID");
  }
});

test("a push with a subject says so, and the list shows it whole, whether the subject is there or not", async () => {
  await using registry = await opened();
  const text = referrerOf(subject, BUNDLE, { annotations: { key: "value", empty: "" } });
  const pushed = await putManifest(registry.handle, "a", digestOf(text), text);
  expect(pushed.headers.get("OCI-Subject")).toBe(subject.digest);
  const wanted = {
    ...descriptorOf(OCI_IMAGE, text),
    artifactType: BUNDLE,
    annotations: { key: "value", empty: "" },
  };
  expect(await listed(registry, PATH)).toEqual([wanted]);
  await pushManifest(registry.handle, "a", "v1", SUBJECT);
  expect(await listed(registry, PATH)).toEqual([wanted]);
});

test("without an artifactType an image shows its config's, and an index none", async () => {
  await using registry = await opened();
  const image = imageOf([], { config: descriptorOf(OCI_EMPTY, EMPTY_JSON), subject });
  const index = indexOf([], { subject });
  const typed = indexOf([], { subject, artifactType: "application/x-typed" });
  await pushManifest(registry.handle, "a", "image", image);
  for (const text of [index, typed]) {
    const pushed = await putManifest(registry.handle, "a", digestOf(text), text, {
      "Content-Type": OCI_INDEX,
    });
    expect(pushed.headers.get("OCI-Subject")).toBe(subject.digest);
  }
  const types = new Map(
    (await listed(registry, PATH)).map(({ digest, artifactType }) => [digest, artifactType]),
  );
  expect(types.get(digestOf(image))).toBe(OCI_EMPTY);
  expect(types.get(digestOf(index))).toBeUndefined();
  expect(types.get(digestOf(typed))).toBe("application/x-typed");
});

test("the list is filtered by type, the + of its name encoded or not", async () => {
  await using registry = await opened();
  const wanted = referrerOf(subject, BUNDLE);
  await pushManifest(registry.handle, "a", "one", wanted);
  await pushManifest(registry.handle, "a", "two", referrerOf(subject, "application/x-other"));
  for (const type of [encodeURIComponent(BUNDLE), BUNDLE]) {
    const path = `${PATH}?artifactType=${type}`;
    expect((await listed(registry, path)).map(({ digest }) => digest)).toEqual([digestOf(wanted)]);
    const { headers } = await registry.handle(path);
    expect(headers.get("OCI-Filters-Applied")).toBe("artifactType");
  }
  expect(await listed(registry, `${PATH}?artifactType=application/none`)).toEqual([]);
  expect((await registry.handle(PATH)).headers.has("OCI-Filters-Applied")).toBe(false);
});

for (const filter of ["", `artifactType=${encodeURIComponent(BUNDLE)}&`]) {
  test(`pages of a ${filter === "" ? "whole" : "filtered"} list give every referrer once`, async () => {
    await using registry = await opened();
    const all = Array.from({ length: 25 }, (_, n) =>
      referrerOf(subject, n % 2 === 0 ? BUNDLE : "application/x-other", {
        annotations: { n: `${n}` },
      }),
    );
    for (const text of all) await pushManifest(registry.handle, "a", digestOf(text), text);
    const wanted = all.filter((text) => filter === "" || text.includes(BUNDLE));
    for (const n of [1, 3, 13, 25, 1000]) {
      const seen: string[] = [];
      for (let path: string | undefined = `${PATH}?${filter}n=${n}`; path !== undefined;) {
        const response: Response = await registry.handle(path);
        if (filter !== "") expect(header(response, "OCI-Filters-Applied")).toBe("artifactType");
        const page = await listed(registry, path);
        expect(page.length).toBeLessThanOrEqual(n);
        seen.push(...page.map(({ digest }) => digest));
        path = nextOf(response);
      }
      expect(seen).toEqual(wanted.map((text) => digestOf(text)).sort());
    }
    expect(await listed(registry, `${PATH}?n=0`)).toHaveLength(25);
  });
}

test("annotations of any size are listed, and a long list comes in pages that keep within their bytes", async () => {
  await using registry = await opened({ HOLDFAST_LIMITS_REFERRERS_PAGE_BYTES: "65536" });
  const all = [5000, 30_000, 10_000, 90_000, 4000, 20_000, 100].map((size, n) =>
    referrerOf(subject, "application/x-large", {
      annotations: { n: `${n}${"é".repeat(size / 2)}` },
    }),
  );
  for (const text of all) await pushManifest(registry.handle, "a", digestOf(text), text);
  const seen = new Map<string, unknown>();
  for (let path: string | undefined = PATH; path !== undefined;) {
    const response: Response = await registry.handle(path);
    const body = Buffer.from(await response.arrayBuffer());
    const { manifests } = JSON.parse(body.toString()) as { manifests: Listed[] };
    if (manifests.length > 1) expect(body.length).toBeLessThanOrEqual(65_536);
    for (const { digest, annotations } of manifests) seen.set(digest, annotations);
    path = nextOf(response);
  }
  expect(seen.size).toBe(all.length);
  for (const text of all) {
    expect(seen.get(digestOf(text))).toEqual((JSON.parse(text) as Json)["annotations"]);
  }
});

test("a referrer of a type not known to us is listed with its large annotations", async () => {
  await using registry = await opened();
  const type = "application/vnd.example.future.v7+json";
  const annotations = { large: "x".repeat(5000) };
  const text = JSON.stringify({ subject, annotations, layers: [], manifests: [] });
  await pushManifest(registry.handle, "a", "v1", text, type);
  expect(await listed(registry, PATH)).toEqual([{ ...descriptorOf(type, text), annotations }]);
});

test("a deleted referrer is gone from the list", async () => {
  await using registry = await opened();
  const texts = [referrerOf(subject, BUNDLE), referrerOf(subject, "application/x-other")];
  for (const text of texts) await pushManifest(registry.handle, "a", digestOf(text), text);
  const [first = "", second = ""] = texts.map((text) => digestOf(text));
  await registry.handle(`/v2/a/manifests/${first}`, { method: "DELETE" });
  expect((await listed(registry, PATH)).map(({ digest }) => digest)).toEqual([second]);
});

test("a deleted subject keeps its referrers", async () => {
  await using registry = await opened();
  await pushManifest(registry.handle, "a", "v1", SUBJECT);
  await pushManifest(registry.handle, "a", "sig", referrerOf(subject, BUNDLE));
  await registry.handle(`/v2/a/manifests/${subject.digest}`, { method: "DELETE" });
  expect(await listed(registry, PATH)).toHaveLength(1);
});

test("referrers belong to their repository", async () => {
  await using registry = await opened();
  await pushManifest(registry.handle, "a", "sig", referrerOf(subject, BUNDLE));
  expect(await listed(registry, `/v2/b/referrers/${subject.digest}`)).toEqual([]);
});

test("a subject is looked up in the algorithm it is named by", async () => {
  await using registry = await opened();
  const digest = digestOf(SUBJECT, "sha512");
  const text = referrerOf({ ...subject, digest }, BUNDLE);
  const pushed = await putManifest(registry.handle, "a", "sig", text);
  expect(pushed.headers.get("OCI-Subject")).toBe(digest);
  expect(await listed(registry, `/v2/a/referrers/${digest}`)).toHaveLength(1);
  expect(await listed(registry, PATH)).toEqual([]);
});

test("parallel signers of one subject are all listed", async () => {
  await using registry = await opened();
  const texts = Array.from({ length: 30 }, (_, n) =>
    referrerOf(subject, BUNDLE, { annotations: { n: `${n}` } }),
  );
  await Promise.all(
    texts.map(async (text) => pushManifest(registry.handle, "a", digestOf(text), text)),
  );
  expect(await listed(registry, PATH)).toHaveLength(30);
});
