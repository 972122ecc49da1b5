import { expect, test } from "bun:test";
import { parse } from "yaml";
import { loaderIn, temporaryDirectory } from "./config-fixture.ts";
import { variableOf } from "./env.ts";
import { knownKeys } from "./keys.ts";
import { printConfig } from "./print.ts";
import { isMap } from "./tree.ts";

const load = loaderIn(temporaryDirectory());

test.each([
  ["storage.s3.accessKeyId", "HOLDFAST_STORAGE_S3_ACCESS_KEY_ID"],
  ["publicUrl", "HOLDFAST_PUBLIC_URL"],
  ["log.level", "HOLDFAST_LOG_LEVEL"],
])("the variable of %p is %p", (path, name) => expect(variableOf(path)).toBe(name));

test("no two keys share a variable", () => {
  expect(new Set([...knownKeys.keys()].map(variableOf)).size).toBe(knownKeys.size);
});

test("every key of a file can be set by its variable instead", () => {
  const yaml = "tls: { cert: /a, key: /b }\npublicUrl: https://x\ntrustedProxies: [10.0.0.0/8]\n";
  const { config } = load({ yaml });
  const env: Record<string, string> = {};
  const set = (path: string, value: unknown): void => {
    if (isMap(value))
      for (const [name, child] of Object.entries(value)) set(`${path}.${name}`, child);
    else env[variableOf(path)] = typeof value === "string" ? value : JSON.stringify(value);
  };
  for (const [name, value] of Object.entries(parse(printConfig(config)) as object))
    set(name, value);
  expect(Object.keys(env)).toHaveLength(knownKeys.size);
  const loaded = load({ env });
  expect(loaded.config).toEqual({ ...config, auth: { ...config.auth, because: "written" } });
  expect([...loaded.sources.values()].toSorted()).toEqual(Object.keys(env).toSorted());
});
