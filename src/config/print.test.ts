import { expect, test } from "bun:test";
import * as fc from "fast-check";
import { parse } from "yaml";
import { loaderIn, temporaryDirectory } from "./config-fixture.ts";
import { configSchemaJson, knownKeys } from "./keys.ts";
import { printConfig } from "./print.ts";
import { hunter, storeSections, writeStoreFiles } from "./stores-fixture.ts";
import { isMap } from "./tree.ts";

const cwd = temporaryDirectory();
const load = loaderIn(cwd);
writeStoreFiles(cwd);

const written = fc.record(
  {
    listen: fc.uniqueArray(
      fc.integer({ min: 1, max: 5000 }).map((port) => `:${port}`),
      { minLength: 1 },
    ),
    workers: fc.integer({ min: 1, max: 256 }),
    data: fc.constantFrom("/srv/x", "rel", "/with # hash", "/with: colon", " spaces "),
    log: fc.record({ level: fc.constantFrom("debug", "error"), requests: fc.boolean() }),
    metrics: fc.record({ listen: fc.constantFrom("off", "[::1]:5091") }),
    tls: fc.constant({ cert: "/a", key: "/b" }),
    publicUrl: fc.constant("https://r.example.com"),
    trustedProxies: fc.array(fc.ipV4()),
    auth: fc.record({ anonymous: fc.uniqueArray(fc.constantFrom("pull", "push", "delete")) }),
    collection: fc.record({ grace: fc.integer({ min: 1, max: 900 }).map((m) => `${m}m`) }),
    drain: fc.record({ timeout: fc.nat(10_000_000).map((ms) => `${ms}ms`) }),
    limits: fc.record({ blobBytes: fc.maxSafeNat(), jsonDepth: fc.integer({ min: 1, max: 1000 }) }),
  },
  { requiredKeys: [] },
);

test("what is printed, with or without who set it, is a file that gives the same configuration", () => {
  fc.assert(
    fc.property(written, (tree) => {
      const { config, sources } = load({ yaml: JSON.stringify(tree) });
      const { because: _, ...auth } = config.auth;
      for (const text of [printConfig(config), printConfig(config, sources)])
        expect(load({ yaml: text }).config).toEqual({
          ...config,
          auth: { ...auth, because: "written" },
        });
    }),
    { numRuns: 50 },
  );
});

test("a parser of YAML 1.1 or of flow lists takes every text for a text", () => {
  const { config } = load({ env: { HOLDFAST_METRICS_LISTEN: "off", HOLDFAST_DATA: "/a b" } });
  const text = printConfig(config);
  for (const line of [`listen: [":5000"]`, `listen: "off"`, `data: "/a b"`, `timeout: 25s`])
    expect(text).toContain(`${line}\n`);
  expect(parse(text, { version: "1.1" })).toEqual(parse(text));
});

test("every key that is set is printed with who set it", () => {
  const { config, sources } = load({ flags: { data: "/srv/x", listen: [":1"] } });
  const text = printConfig(config, sources);
  expect(text).toContain("data: /srv/x # --data\n");
  expect(text).toContain('listen: [":1"] # --listen\n');
  expect(text).toContain("level: info # default\n");
  const printed: unknown = parse(text);
  const optional = /^(?:tls\.|publicUrl$|metadata\.|storage\.|cluster\.)/;
  for (const key of knownKeys.keys())
    if (!optional.test(key)) expect(at(printed, key)).toBeDefined();
});

function at(tree: unknown, key: string): unknown {
  return key
    .split(".")
    .reduce<unknown>((node, name) => (isMap(node) ? node[name] : undefined), tree);
}

/** The tree with every secret that stands in it masked, every path absolute, and lists as lists. */
const asPrinted: readonly unknown[] = [
  {
    metadata: {
      postgres: {
        url: "postgres://me@a:5433,[::1]:5432/images",
        password: "(secret, 15 characters)",
        connections: 7,
        tls: { mode: "verify-full", ca: `${cwd}/ca.pem` },
      },
    },
    storage: {
      s3: {
        prefix: "some/where/",
        accessKeyId: "(secret, 4 characters)",
        secretAccessKey: "(secret, 15 characters)",
        sessionToken: "(secret, 15 characters)",
        redirect: { enabled: true, ttl: "1h", exceptUserAgents: ["containerd/"] },
      },
    },
  },
  {
    metadata: { etcd: { password: "(secret, 15 characters)", tls: { key: `${cwd}/client.key` } } },
    storage: { storj: { accessGrant: "(secret, 15 characters)", endpoint: "http://gateway:7777" } },
  },
  {
    metadata: { postgres: { urlFile: `${cwd}/pg.url`, tls: { mode: "prefer" } } },
    storage: { s3: { accessKeyIdFile: `${cwd}/id`, sessionTokenFile: `${cwd}/token` } },
  },
  {
    metadata: {
      postgres: { url: "postgres://me@db:5432/me", passwordFile: `${cwd}/pg.password` },
    },
    storage: { storj: { accessGrantFile: `${cwd}/grant` } },
  },
  { metadata: { etcd: { endpoints: ["http://a:2379"], prefix: "holdfast/" } } },
  { storage: { s3: { region: "us-east-1", pathStyle: true } } },
];

test("stores are printed as they are written, but no secret is", () => {
  for (const [index, tree] of storeSections.entries()) {
    const { config, sources } = load({ yaml: JSON.stringify(tree) });
    const text = printConfig(config, sources);
    expect(text).not.toContain(hunter);
    expect(parse(text)).toMatchObject(asPrinted[index] as object);
    expect(text).toMatch(/\n {4}bucket: images(?:\.example\.com)? # .*c\.yml:1\n/);
  }
});

test("printed stores are a file that gives the same configuration, once the secrets are back in it", () => {
  for (const tree of storeSections) {
    const { config } = load({ yaml: JSON.stringify(tree) });
    const printed = printConfig(config)
      .replaceAll('"(secret, 15 characters)"', hunter)
      .replaceAll('"(secret, 4 characters)"', "AKIA");
    const { auth, ...again } = load({ yaml: printed }).config;
    expect({ ...again, auth: { ...auth, because: "reachable" } }).toEqual(config);
  }
});

test("a password that stands in an address is taken out of it", () => {
  const yaml = `metadata: { postgres: { url: "postgres://me:${hunter}@db" } }\nstorage: { s3: { bucket: images } }`;
  const { config, sources } = load({ yaml });
  const text = printConfig(config, sources);
  expect(text).toContain('url: "postgres://me@db:5432/me" # ');
  expect(text).toContain('password: "(secret, 15 characters)"\n');
  expect(text).not.toContain(hunter);
});

test("what is shown in place of a secret is refused as one", () => {
  const { config } = load({ yaml: JSON.stringify(storeSections[1]) });
  expect(() => load({ yaml: printConfig(config) })).toThrow("write the secret itself");
});

test("the JSON Schema describes every key and refuses others", () => {
  expect(configSchemaJson()).toMatchObject({
    $schema: "https://json-schema.org/draft/2020-12/schema",
    type: "object",
    additionalProperties: false,
    properties: {
      log: { additionalProperties: false, properties: { level: { default: "info" } } },
    },
  });
  for (const { path, description, form } of knownKeys.values()) {
    expect([path, description.endsWith(".") || description.includes("413"), form !== ""]).toEqual([
      path,
      true,
      true,
    ]);
  }
});
