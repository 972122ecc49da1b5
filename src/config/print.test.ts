import { expect, test } from "bun:test";
import * as fc from "fast-check";
import { parse } from "yaml";
import { loaderIn, temporaryDirectory } from "./config-fixture.ts";
import { configSchemaJson, knownKeys } from "./keys.ts";
import { printConfig } from "./print.ts";

const cwd = temporaryDirectory();
const load = loaderIn(cwd);

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
  const printed = parse(text) as Record<string, Record<string, unknown>>;
  const optional = ["tls.cert", "tls.key", "publicUrl"];
  for (const key of knownKeys.keys()) {
    if (optional.includes(key)) continue;
    const [first = "", last] = key.split(".");
    expect(last === undefined ? printed[first] : printed[first]?.[last]).toBeDefined();
  }
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
