import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { loaderIn, refusalsOf, temporaryDirectory, type Given } from "./config-fixture.ts";

const cwd = temporaryDirectory();
const load = loaderIn(cwd);
const withStock = (yaml: string) => `version: "0.1"\n${yaml}`;
const refusals = (given: Given): string[] => {
  const problems = refusalsOf(() => load(given), cwd);
  expect(problems.join()).not.toContain("hunter2");
  return problems;
};

const full = `
storage:
  s3:
    accesskey: AKIA
    secretkey: hunter2
    region: eu-west-1
    regionendpoint: minio:9000
    bucket: images
    rootdirectory: /registry
    forcepathstyle: false
    secure: false
    skipverify: false
    v4auth: true
    encrypt: false
    keyid: ""
    storageclass: STANDARD
    objectacl: private
    accelerate: false
    usedualstack: false
`;

test("the S3 driver's options are understood, and those that change nothing need no word", () => {
  const { config, notices, sources } = load({ yaml: withStock(full) });
  expect(notices).toEqual([]);
  expect(config).toMatchObject({
    shape: "solo",
    data: join(cwd, "data"),
    auth: { anonymous: ["pull", "push"], because: "distribution" },
    stores: {
      kind: "bucket-solo",
      bucket: {
        kind: "s3",
        bucket: "images",
        prefix: "registry/",
        endpoint: "http://minio:9000",
        region: "eu-west-1",
        pathStyle: false,
        credentials: { accessKeyId: { text: "AKIA" }, secretAccessKey: { text: "hunter2" } },
        redirect: { enabled: true },
      },
    },
  });
  expect(sources.get("storage.s3.prefix")).toBe(`${cwd}/c.yml:10 (storage.s3.rootdirectory)`);
  expect(sources.get("storage.s3.redirect.enabled")).toBe(
    `${cwd}/c.yml:3 (without storage.redirect.disable)`,
  );
});

describe("S3", () => {
  test.each([
    ["s3: { bucket: images }", { credentials: undefined, endpoint: undefined }],
    ["s3aws: { bucket: images, region: r2 }", { bucket: "images", region: "r2" }],
    ["s3: { bucket: images, accesskey: '', secretkey: '' }", { credentials: undefined }],
    ["s3: { bucket: images, regionendpoint: 's3:9000' }", { endpoint: "https://s3:9000" }],
    [
      "s3: { bucket: images, regionendpoint: 'https://s3', secure: false }",
      { endpoint: "https://s3", pathStyle: true },
    ],
    ["s3: { bucket: images }, redirect: { disable: true }", { redirect: { enabled: false } }],
    ["s3: { bucket: images }, redirect: { disable: no }", { redirect: { enabled: true } }],
  ])("%s", (yaml, bucket) => {
    const { config, notices } = load({ yaml: withStock(`storage: { ${yaml} }`) });
    expect(notices).toEqual([]);
    expect(config.stores).toMatchObject({ kind: "bucket-solo", bucket });
  });

  test.each([
    ["skipverify: true", "skipverify"],
    ["secure: false", "secure"],
    ["v4auth: false", "v4auth"],
    ["storageclass: REDUCED_REDUNDANCY", "storageclass"],
    ["objectacl: bucket-owner-full-control", "objectacl"],
    ["accelerate: true", "accelerate"],
    ["usedualstack: true", "usedualstack"],
    ["chunksize: 5242880", "chunksize"],
    ["multipartcopychunksize: 33554432", "multipartcopychunksize"],
    ["multipartcopymaxconcurrency: 10", "multipartcopymaxconcurrency"],
    ["multipartcopythresholdsize: 33554432", "multipartcopythresholdsize"],
    ["useragent: me", "useragent"],
    ["loglevel: debug", "loglevel"],
    ["madeup: hunter2", "madeup"],
  ])("%s is named and skipped", (yaml, option) => {
    const { notices } = load({ yaml: withStock(`storage: { s3: { bucket: images, ${yaml} } }`) });
    expect(notices).toHaveLength(1);
    expect(notices[0]).toContain(`c.yml:2: storage.s3.${option} is skipped: `);
    expect(notices[0]).not.toContain("hunter2");
  });

  test.each([
    [
      "s3: { bucket: images, encrypt: true, keyid: hunter2 }",
      /^c\.yml:2: storage\.s3\.encrypt: .*protection you asked for; switch on default encryption/,
    ],
    [
      "filesystem: { rootdirectory: /x }, s3: { bucket: images }",
      /^c\.yml:2: storage\.s3: storage\.filesystem is set too; keep one storage driver\.$/,
    ],
    ["s3: { region: r1 }", /: storage\.s3\.bucket: it is not set; /],
    [
      "s3: { bucket: images, secretkey: hunter2 }",
      /^c\.yml:2 \(storage\.s3\.secretkey\): storage\.s3\.secretAccessKey: it is set without storage\.s3\.accessKeyId; /,
    ],
  ])("%s is refused", (yaml, sentence) =>
    expect(refusals({ yaml: withStock(`storage: { ${yaml} }`) })).toEqual([
      expect.stringMatching(sentence),
    ]),
  );

  test("by variables, over the file of the image and alone", () => {
    const env = {
      REGISTRY_STORAGE: "s3",
      REGISTRY_STORAGE_S3_BUCKET: "images",
      REGISTRY_STORAGE_S3_REGION: "us-west-2",
      REGISTRY_STORAGE_S3_ACCESSKEY: "0123",
      REGISTRY_STORAGE_S3_SECRETKEY: "hunter2",
    };
    const stock = withStock("storage: { filesystem: { rootdirectory: /var/lib/registry } }");
    for (const given of [{ env, yaml: stock }, { env }]) {
      const { config, sources } = load(given);
      expect(config.stores).toMatchObject({
        kind: "bucket-solo",
        bucket: { region: "us-west-2", credentials: { accessKeyId: { text: "0123" } } },
      });
      expect(sources.get("storage.s3.redirect.enabled")).toBe(
        "REGISTRY_STORAGE (without storage.redirect.disable)",
      );
    }
  });

  test("a database added by our own variable makes it shared", () => {
    const env = { HOLDFAST_METADATA_POSTGRES_URL: "postgres://me@db" };
    expect(load({ env, yaml: withStock(full) }).config.shape).toBe("shared");
  });
});

describe("Storj, the original driver", () => {
  const env = {
    REGISTRY_STORAGE_STORJ_BUCKET: "images",
    REGISTRY_STORAGE_STORJ_ACCESSGRANT: "hunter2",
  };
  const bucket = { kind: "storj", bucket: "images", accessGrant: { text: "hunter2" } };

  test("two variables are all it needs", () => {
    const { config, notices, sources } = load({ env });
    expect(notices).toEqual([]);
    expect(config).toMatchObject({ shape: "solo", stores: { kind: "bucket-solo", bucket } });
    expect(config.stores).toMatchObject({ bucket: { redirect: { enabled: false } } });
    expect(sources.get("storage.storj.accessGrant")).toBe(
      "REGISTRY_STORAGE_STORJ_ACCESSGRANT (storage.storj.accessgrant)",
    );
  });

  test("its file too; redirects stay off", () => {
    const yaml = withStock(
      "storage: { storj: { bucket: images, accessgrant: hunter2 }, redirect: { disable: false } }",
    );
    const { config, notices } = load({ yaml });
    expect(config.stores).toMatchObject({ bucket: { ...bucket, redirect: { enabled: false } } });
    expect(notices).toEqual([expect.stringContaining("storage.redirect is skipped: ")]);
  });

  test("one of them alone is refused", () => {
    const { REGISTRY_STORAGE_STORJ_BUCKET: _, ...grant } = env;
    expect(refusals({ env: grant })).toEqual([
      expect.stringMatching(
        /^REGISTRY_STORAGE_STORJ_ACCESSGRANT .*: storage\.storj\.bucket: it is not set; /,
      ),
    ]);
  });
});
