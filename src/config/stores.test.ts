import { describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { loaderIn, refusalsOf, temporaryDirectory, type Given } from "./config-fixture.ts";
import { hunter, storeSections, writeStoreFiles } from "./stores-fixture.ts";

const cwd = temporaryDirectory();
const load = loaderIn(cwd);
writeStoreFiles(cwd);
writeFileSync(join(cwd, "empty"), "\n\n");
writeFileSync(join(cwd, "two-lines"), `${hunter}\nsecond\n`);

const stores = (tree: unknown) => load({ yaml: JSON.stringify(tree) }).config.stores;
function bucketOf(tree: unknown) {
  const given = stores(tree);
  return "bucket" in given ? given.bucket : undefined;
}
const refusals = (given: Given): string[] => {
  const problems = refusalsOf(() => load(given), cwd);
  expect(problems.join()).not.toContain(hunter);
  return problems;
};

const postgres = "metadata: { postgres: { url: 'postgres://me@db' } }";
const etcd = "metadata: { etcd: { endpoints: ['http://a:2379'] } }";
const s3 = "storage: { s3: { bucket: images } }";
const storj = "storage: { storj: { bucket: images, accessGrant: grant } }";

describe("the shape follows from what is written", () => {
  test.each([
    ["", "solo", { kind: "files" }],
    ["shape: solo", "solo", { kind: "files" }],
    [s3, "solo", { kind: "bucket-solo", bucket: { kind: "s3" } }],
    [`${storj}\nshape: solo`, "solo", { kind: "bucket-solo", bucket: { kind: "storj" } }],
    [
      `${postgres}\n${s3}\nshape: shared`,
      "shared",
      { kind: "shared", database: { kind: "postgres" }, bucket: { kind: "s3" } },
    ],
    [
      `${etcd}\n${storj}`,
      "shared",
      { kind: "shared", database: { kind: "etcd" }, bucket: { kind: "storj" } },
    ],
  ])("%s", (yaml, shape, kinds) =>
    expect(load({ yaml }).config).toMatchObject({ shape, stores: kinds }),
  );

  test("two variables are a registry on Storj", () => {
    const env = {
      HOLDFAST_STORAGE_STORJ_BUCKET: "images",
      HOLDFAST_STORAGE_STORJ_ACCESS_GRANT: "12345",
    };
    expect(load({ env }).config.stores).toEqual({
      kind: "bucket-solo",
      bucket: {
        kind: "storj",
        bucket: "images",
        prefix: "",
        accessGrant: { text: "12345", file: undefined },
        authService: "https://auth.storjshare.io",
        endpoint: undefined,
        redirect: { enabled: false, ttl: 600_000, exceptUserAgents: [] },
      },
    });
  });

  const database =
    "a database without a bucket would leave the bytes in local files, which no other node sees; set storage.s3 or storage.storj, or remove this section";
  test.each([
    [postgres, `metadata.postgres: ${database}.`],
    [etcd, `metadata.etcd: ${database}.`],
    [
      `shape: solo\n${postgres}\n${s3}`,
      "shape: metadata.postgres makes it shared; write shape: shared, or remove that section.",
    ],
    [
      `shape: shared\n${s3}`,
      "shape: there is no database; set metadata.postgres or metadata.etcd, or write shape: solo.",
    ],
    [
      "shape: shared",
      "shape: there is neither database nor bucket; set metadata.postgres or metadata.etcd, and storage.s3 or storage.storj, or write shape: solo.",
    ],
    [
      "metadata: { postgres: { url: 'postgres://me@db' }, etcd: { endpoints: 'http://a' } }",
      "metadata.etcd: metadata.postgres is set too; set only one of the two.",
    ],
    [
      "storage: { storj: { bucket: images }, s3: { bucket: images } }",
      "storage.storj: storage.s3 is set too; set only one of the two.",
    ],
  ])("%s is refused", (yaml, sentence) =>
    expect(refusals({ yaml })).toEqual([`c.yml:1: ${sentence}`]),
  );

  test.each([
    ["metadata:", "metadata"],
    ["storage: {}", "storage"],
    ["storage: { s3: }", "storage.s3"],
    ["storage: { storj: {} }", "storage.storj"],
    ["metadata: { postgres: {} }", "metadata.postgres"],
    ["metadata: { etcd: }", "metadata.etcd"],
  ])("%s says nothing and is refused", (yaml, section) =>
    expect(refusals({ yaml })).toEqual([
      expect.stringMatching(new RegExp(`^c\\.yml:1: ${section}: it says nothing; set .*\\.$`)),
    ]),
  );
});

describe("buckets", () => {
  test("every key of S3 arrives, secrets of files without their last line breaks", () => {
    expect(bucketOf(storeSections[0])).toEqual({
      kind: "s3",
      bucket: "images",
      prefix: "some/where/",
      endpoint: "https://s3.example.com:9000",
      region: "eu-west-1",
      pathStyle: false,
      credentials: {
        accessKeyId: { text: "AKIA", file: undefined },
        secretAccessKey: { text: hunter, file: undefined },
        sessionToken: { text: hunter, file: undefined },
      },
      ca: { text: expect.stringContaining("BEGIN CERTIFICATE"), file: join(cwd, "ca.pem") },
      redirect: { enabled: true, ttl: 3_600_000, exceptUserAgents: ["containerd/"] },
    });
    expect(bucketOf(storeSections[2])).toMatchObject({
      credentials: {
        accessKeyId: { text: "file-id", file: join(cwd, "id") },
        secretAccessKey: { text: hunter, file: join(cwd, "key") },
        sessionToken: { text: "file-token", file: join(cwd, "token") },
      },
    });
  });

  test("every key of Storj arrives", () => {
    expect(bucketOf(storeSections[1])).toMatchObject({
      kind: "storj",
      prefix: "p/",
      accessGrant: { text: hunter },
      authService: "http://127.0.0.1:8888",
      endpoint: "http://gateway:7777",
    });
    expect(bucketOf(storeSections[3])).toMatchObject({
      accessGrant: { text: hunter, file: join(cwd, "grant") },
    });
  });

  test.each([
    ["bucket: images", { credentials: undefined, endpoint: undefined, pathStyle: false }],
    ["bucket: images.example.com", { pathStyle: true }],
    [
      "bucket: images, endpoint: 'http://127.0.0.1:9000/'",
      { endpoint: "http://127.0.0.1:9000", pathStyle: true },
    ],
    ["bucket: images, prefix: /a/b/", { prefix: "a/b/" }],
    ["bucket: images, prefix: /", { prefix: "" }],
  ])("s3: { %s }", (yaml, expected) =>
    expect(load({ yaml: `storage: { s3: { ${yaml} } }` }).config.stores).toMatchObject({
      bucket: expected,
    }),
  );

  const key = "storage.s3.";
  test.each([
    ["region: eu", `${key}bucket: it is not set; name the bucket, which has to be there already.`],
    [
      "bucket: 's3://images'",
      `${key}bucket: "s3://images" is not accepted; it takes the name of a bucket, 3 to 63 characters (a folder in it goes to prefix).`,
    ],
    [
      "bucket: images, prefix: a/../b",
      `${key}prefix: "a/../b" is not accepted; write names of letters, digits, ".", "_" and "-", with "/" between them.`,
    ],
    [
      "bucket: images, endpoint: s3.example.com",
      `${key}endpoint: "s3.example.com" is not accepted; write scheme, host and port only, such as "https://s3.example.com:9000".`,
    ],
    [
      `bucket: images, endpoint: 'https://me:${hunter}@s3'`,
      `${key}endpoint: this, which holds a user or password, is not accepted; write scheme, host and port only, such as "https://s3.example.com:9000".`,
    ],
    [
      "bucket: images, accessKeyId: x",
      `${key}accessKeyId: it is set without storage.s3.secretAccessKey; set both, or none.`,
    ],
    [
      "bucket: images, secretAccessKeyFile: key",
      `${key}secretAccessKeyFile: it is set without storage.s3.accessKeyId; set both, or none.`,
    ],
    [
      "bucket: images, sessionToken: x",
      `${key}sessionToken: it is set without storage.s3.accessKeyId and secretAccessKey; set all three, or none.`,
    ],
    [
      `bucket: images, accessKeyId: x, secretAccessKey: ${hunter}, secretAccessKeyFile: key`,
      `${key}secretAccessKeyFile: storage.s3.secretAccessKey is set too (c.yml:1); set only one of the two.`,
    ],
    [
      "bucket: images, accessKeyId: x, secretAccessKeyFile: none",
      `${key}secretAccessKeyFile: none cannot be read (ENOENT); name a file that is there and that this user may read.`,
    ],
    [
      "bucket: images, accessKeyId: x, secretAccessKeyFile: .",
      `${key}secretAccessKeyFile: ${cwd} cannot be read (EISDIR); name a file that is there and that this user may read.`,
    ],
    [
      "bucket: images, accessKeyId: x, secretAccessKeyFile: empty",
      `${key}secretAccessKeyFile: empty is empty; write the secret into it.`,
    ],
    [
      "bucket: images, accessKeyId: x, secretAccessKeyFile: two-lines",
      `${key}secretAccessKeyFile: two-lines holds several lines; write the secret and nothing else into it.`,
    ],
    [
      "bucket: images, accessKeyId: x, secretAccessKey: 12345",
      `${key}secretAccessKey: what is written is not accepted; it takes a text (in quotes where it is a number).`,
    ],
    [
      `bucket: images, accessKeyId: x, secretAccessKey: ['${hunter}']`,
      `${key}secretAccessKey: what is written is not accepted; it takes a text (in quotes where it is a number).`,
    ],
    [
      "bucket: images, accessKeyId: x, secretAccessKey: '(secret, 40 characters)'",
      `${key}secretAccessKey: it is what \`holdfast config print\` shows in place of the secret; write the secret itself.`,
    ],
    [
      "bucket: images, ca: ca.pem",
      `${key}ca: there is no https endpoint that it could be for; set storage.s3.endpoint, or remove it.`,
    ],
    [
      "bucket: images, endpoint: 'https://s3', ca: client.key",
      `${key}ca: client.key holds no certificate in PEM; name a file that does.`,
    ],
    [
      "bucket: images, redirect: { ttl: 8d }",
      `${key}redirect.ttl: "8d" is too long; write at most 7d.`,
    ],
    [
      "bucket: images, redirect: { ttl: 1s }",
      `${key}redirect.ttl: "1s" is too short; write at least 10s.`,
    ],
    [
      "bucket: images, redirect: { enable: true }",
      `${key}redirect.enable: this key is not known; the nearest known key is storage.s3.redirect.enabled.`,
    ],
    [
      "bucket: images, secretAccesKey: x",
      `${key}secretAccesKey: this key is not known; the nearest known key is storage.s3.secretAccessKey.`,
    ],
  ])("s3: { %s } is refused", (yaml, sentence) =>
    expect(refusals({ yaml: `storage: { s3: { ${yaml} } }` })).toEqual([`c.yml:1: ${sentence}`]),
  );

  test.each([
    [
      "bucket: images",
      "accessGrant: it is not set; set it or storage.storj.accessGrantFile to a grant that may read, write, list and delete in the bucket.",
    ],
    ["accessGrant: x", "bucket: it is not set; name the bucket, which has to be there already."],
    [
      "bucket: images, accessGrant: x, authService: 'http://auth.example.com'",
      'authService: "http://auth.example.com" would send the access grant in the clear; write https, or an address of this machine.',
    ],
  ])("storj: { %s } is refused", (yaml, sentence) =>
    expect(refusals({ yaml: `storage: { storj: { ${yaml} } }` })).toEqual([
      `c.yml:1: storage.storj.${sentence}`,
    ]),
  );
});

describe("databases", () => {
  const database = (metadata: string) => {
    const given = load({ yaml: `metadata: { ${metadata} }\n${s3}` }).config.stores;
    return given.kind === "shared" ? given.database : undefined;
  };

  test("every key of PostgreSQL arrives", () => {
    const first = stores(storeSections[0]);
    expect(first).toMatchObject({
      database: {
        kind: "postgres",
        hosts: [
          { host: "a", port: 5433 },
          { host: "::1", port: 5432 },
        ],
        user: "me",
        database: "images",
        password: { text: hunter, file: undefined },
        urlFile: undefined,
        tls: { mode: "verify-full", ca: { file: join(cwd, "ca.pem") } },
        connections: 7,
      },
    });
    expect(stores(storeSections[2])).toMatchObject({
      database: {
        hosts: [{ host: "db", port: 5432 }],
        password: { text: hunter, file: join(cwd, "pg.url") },
        urlFile: join(cwd, "pg.url"),
        tls: { mode: "prefer", ca: undefined },
        connections: 3,
      },
    });
    expect(stores(storeSections[3])).toMatchObject({
      database: { database: "me", password: { text: hunter, file: join(cwd, "pg.password") } },
    });
  });

  test("every key of etcd arrives", () => {
    expect(stores(storeSections[1])).toMatchObject({
      database: {
        kind: "etcd",
        endpoints: ["https://a:2379", "https://b:2379"],
        prefix: "/registry/",
        credentials: { username: "me", password: { text: hunter } },
        tls: {
          ca: { file: join(cwd, "ca.pem") },
          client: {
            cert: { file: join(cwd, "client.pem") },
            key: { file: join(cwd, "client.key") },
          },
        },
      },
    });
    expect(database("etcd: { endpoints: 'http://a:2379/' }")).toEqual({
      kind: "etcd",
      endpoints: ["http://a:2379"],
      prefix: "holdfast/",
      credentials: undefined,
      tls: { ca: undefined, client: undefined },
    });
  });

  test.each([
    ["url: 'postgres://me@db?sslmode=require'", "require"],
    ["url: 'postgres://me@db?sslmode=allow'", "prefer"],
    ["url: 'postgres://me@db', tls: { mode: disable }", "disable"],
    ["url: 'postgres://me@db', tls: { ca: ca.pem }", "verify-full"],
    ["url: 'postgres://me@db?sslmode=require', tls: { mode: require }", "require"],
  ])("postgres: { %s } is %s", (yaml, mode) =>
    expect(database(`postgres: { ${yaml} }`)).toMatchObject({ tls: { mode } }),
  );

  test.each([
    [
      "postgres: { connections: 3 }",
      "postgres.url: it is not set; set it or metadata.postgres.urlFile to the address of the database.",
    ],
    [
      `postgres: { url: 'mysql://me:${hunter}@db' }`,
      'postgres.url: this is no address of PostgreSQL; write one such as "postgres://user@host:5432/database", with special characters of names and passwords percent-encoded.',
    ],
    [
      "postgres: { url: 'postgres://db/images' }",
      'postgres.url: the address names no user; write it before an "@", such as "postgres://user@host:5432/database".',
    ],
    [
      "postgres: { url: 7 }",
      'postgres.url: what is written is not accepted; it takes an address such as "postgres://user@host:5432/database".',
    ],
    [
      "postgres: { urlFile: key }",
      'postgres.urlFile: this is no address of PostgreSQL; write one such as "postgres://user@host:5432/database", with special characters of names and passwords percent-encoded.',
    ],
    [
      "postgres: { url: 'postgres://me@db?channel_binding=require' }",
      'postgres.url: the address has a parameter "channel_binding" that is not understood; remove it (sslmode is; a CA goes to metadata.postgres.tls.ca).',
    ],
    [
      "postgres: { url: 'postgres://me@db?sslmode=verify-ca' }",
      "postgres.url: the address has an unknown sslmode; write disable, allow, prefer, require, verify-full.",
    ],
    [
      `postgres: { url: 'postgres://me:${hunter}@db', password: x }`,
      "postgres.password: the address holds a password too; write it in one place only.",
    ],
    [
      "postgres: { urlFile: pg.url, passwordFile: pg.password }",
      "postgres.passwordFile: the address holds a password too; write it in one place only.",
    ],
    [
      "postgres: { url: 'postgres://me@db?sslmode=require', tls: { mode: prefer } }",
      "postgres.tls.mode: metadata.postgres.url says sslmode=require, which is another; write it in one place only.",
    ],
    [
      "postgres: { url: 'postgres://me@db', tls: { mode: require, ca: ca.pem } }",
      "postgres.tls.ca: nothing is checked against it in the mode require; set metadata.postgres.tls.mode to verify-full, or remove it.",
    ],
    [
      "postgres: { url: 'postgres://me@db', tls: { mode: allow } }",
      'postgres.tls.mode: "allow" is not accepted; it takes one of disable, prefer, require, verify-full.',
    ],
    [
      "etcd: { prefix: x/ }",
      'etcd.endpoints: it is not set; name the members, such as ["http://10.0.0.1:2379"].',
    ],
    [
      "etcd: { endpoints: [] }",
      'etcd.endpoints: [] is not accepted; it takes an address such as "http://10.0.0.1:2379", or a list of them.',
    ],
    [
      "etcd: { endpoints: 'a:2379' }",
      'etcd.endpoints: "a:2379" is not accepted; write scheme, host and port only, such as "http://10.0.0.1:2379".',
    ],
    [
      "etcd: { endpoints: 'http://a', prefix: holdfast }",
      'etcd.prefix: "holdfast" is not accepted; it takes a text that ends with "/", such as "holdfast/".',
    ],
    [
      "etcd: { endpoints: ['http://a', 'https://b'] }",
      'etcd.endpoints: "http://a" is not encrypted and others are; write https for all, or http for all.',
    ],
    [
      "etcd: { endpoints: 'http://a', tls: { ca: ca.pem } }",
      'etcd.tls.ca: "http://a" is not encrypted; write https for every endpoint, or remove metadata.etcd.tls.',
    ],
    [
      "etcd: { endpoints: 'https://a', tls: { cert: client.pem } }",
      "etcd.tls.cert: it is set without metadata.etcd.tls.key; set both, or none.",
    ],
    [
      "etcd: { endpoints: 'https://a', tls: { cert: client.pem, key: ca.pem } }",
      "etcd.tls.key: ca.pem holds no private key in PEM; name a file that does.",
    ],
    [
      "etcd: { endpoints: 'http://a', username: me }",
      "etcd.username: it is set without metadata.etcd.password; set both, or none.",
    ],
    [
      "etcd: { endpoints: 'http://a', passwordFile: etcd.password }",
      "etcd.passwordFile: it is set without metadata.etcd.username; set both, or none.",
    ],
  ])("%s is refused", (yaml, sentence) =>
    expect(refusals({ yaml: `metadata: { ${yaml} }\n${s3}` })).toEqual([
      `c.yml:1: metadata.${sentence}`,
    ]),
  );
});

test("a secret that YAML takes for an alias is not repeated", () => {
  expect(refusals({ yaml: `storage: { s3: { secretAccessKey: *${hunter} } }` })).toEqual([
    'c.yml: this is not usable YAML (an alias leads nowhere, or there are too many); write it plainly, with quotes around a text that begins with "*".',
  ]);
});
