import { expect, test } from "bun:test";
import { knownKeys } from "./keys.ts";
import { variableOf } from "./env.ts";
import { isServiceVariable } from "./service-variables.ts";

test.each([
  ["REGISTRY_PORT", "tcp://10.0.0.1:5000"],
  ["REGISTRY_SERVICE_HOST", "10.0.0.1"],
  ["REGISTRY_SERVICE_PORT", "5000"],
  ["REGISTRY_SERVICE_PORT_HTTP", "5000"],
  ["REGISTRY_PORT_5000_TCP", "tcp://10.0.0.1:5000"],
  ["REGISTRY_PORT_5000_TCP_ADDR", "10.0.0.1"],
  ["REGISTRY_AUTH_SERVICE_HOST", "10.0.0.1"],
  ["HOLDFAST_METRICS_PORT", "tcp://10.0.0.1:5090"],
])("%p was made by the platform", (name, value) =>
  expect(isServiceVariable(name, value)).toBe(true),
);

test.each([
  ["REGISTRY_HTTP_ADDR", ":5000"],
  ["REGISTRY_AUTH_TOKEN_SERVICE", "x"],
  ["REGISTRY_HTTP_PORT", "5000"],
  ["HOLDFAST_CLUSTER_ETCD_PEER_PORT", "5081"],
])("%p was not", (name, value) => expect(isServiceVariable(name, value)).toBe(false));

test("no key of ours looks like one", () => {
  for (const key of knownKeys.keys()) expect(isServiceVariable(variableOf(key), "1")).toBe(false);
});
