import { expect, test } from "bun:test";
import { parse } from "yaml";
import { loaderIn, temporaryDirectory } from "./config-fixture.ts";
import { variableOf } from "./env.ts";
import { knownKeys } from "./keys.ts";
import { printConfig } from "./print.ts";
import { clusterSections, storeSections, writeStoreFiles } from "./stores-fixture.ts";
import { isMap } from "./tree.ts";

const cwd = temporaryDirectory();
const load = loaderIn(cwd);
writeStoreFiles(cwd);

test.each([
  ["storage.s3.accessKeyId", "HOLDFAST_STORAGE_S3_ACCESS_KEY_ID"],
  ["storage.s3.redirect.exceptUserAgents", "HOLDFAST_STORAGE_S3_REDIRECT_EXCEPT_USER_AGENTS"],
  ["publicUrl", "HOLDFAST_PUBLIC_URL"],
  ["log.level", "HOLDFAST_LOG_LEVEL"],
])("the variable of %p is %p", (path, name) => expect(variableOf(path)).toBe(name));

test("no two keys share a variable", () => {
  expect(new Set([...knownKeys.keys()].map(variableOf)).size).toBe(knownKeys.size);
});

/** The variables that say what a tree says. */
function variablesOf(tree: unknown): Record<string, string> {
  const env: Record<string, string> = {};
  const set = (path: string, value: unknown): void => {
    if (isMap(value) && !knownKeys.has(path))
      for (const [name, child] of Object.entries(value))
        set(path === "" ? name : `${path}.${name}`, child);
    else env[variableOf(path)] = typeof value === "string" ? value : JSON.stringify(value);
  };
  set("", tree);
  return env;
}

test("every key of a file can be set by its variable instead, at any depth", () => {
  const yaml = "tls: { cert: /a, key: /b }\npublicUrl: https://x\ntrustedProxies: [10.0.0.0/8]\n";
  const { shape: _, ...common } = parse(printConfig(load({ yaml }).config)) as object & {
    shape: string;
  };
  const set = new Set<string>();
  for (const sections of [{ shape: "solo" }, ...storeSections, ...clusterSections]) {
    const tree = { ...common, ...sections };
    const { config } = load({ yaml: JSON.stringify(tree) });
    const env = variablesOf(tree);
    const loaded = load({ env });
    expect(loaded.config).toEqual({ ...config, auth: { ...config.auth, because: "written" } });
    const named = [...loaded.sources.values()].filter((source) => source !== "default");
    expect(named.toSorted()).toEqual(Object.keys(env).toSorted());
    for (const name of named) set.add(name);
  }
  expect([...set].toSorted()).toEqual([...knownKeys.keys()].map(variableOf).toSorted());
});

test("a section in one variable yields to the variable of a key, at any depth", () => {
  const env = {
    HOLDFAST_STORAGE:
      '{"s3":{"bucket":"images","region":"r1","redirect":{"enabled":true,"ttl":"1h"}}}',
    HOLDFAST_STORAGE_S3: '{"region":"r2","prefix":"p"}',
    HOLDFAST_STORAGE_S3_REDIRECT_TTL: "2h",
  };
  expect(load({ env }).config.stores).toMatchObject({
    kind: "bucket-solo",
    bucket: {
      bucket: "images",
      region: "r2",
      prefix: "p/",
      redirect: { enabled: true, ttl: 7_200_000 },
    },
  });
});
