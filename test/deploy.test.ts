/** What deploy/ gives away is what the program takes. */
import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseAllDocuments } from "yaml";
import { z } from "zod";
import type { Config } from "../src/config/config.ts";
import { loadConfig, type Loaded } from "../src/config/load.ts";
import { thisMachine } from "../src/config/resolve.ts";

const deploy = join(import.meta.dir, "../deploy");
const home = mkdtempSync(join(tmpdir(), "holdfast-deploy-"));
afterAll(() => rmSync(home, { recursive: true, force: true }));

const labels = z.record(z.string(), z.string());
const named = z.object({ name: z.string(), labels });
const port = z.object({ name: z.string(), port: z.int() });
const probe = z.object({ httpGet: z.object({ path: z.string(), port: z.string() }) });
const variable = z.union([
  z.strictObject({ name: z.string(), value: z.string() }),
  z.strictObject({
    name: z.string(),
    valueFrom: z.object({ fieldRef: z.object({ fieldPath: z.literal("metadata.name") }) }),
  }),
]);
const mount = z.object({ name: z.string(), mountPath: z.string() });

const secret = z.object({
  kind: z.literal("Secret"),
  metadata: named,
  stringData: z.strictObject({ secret: z.string() }),
});
const service = z.object({
  kind: z.literal("Service"),
  metadata: named,
  spec: z.object({
    selector: labels,
    clusterIP: z.literal("None").optional(),
    publishNotReadyAddresses: z.boolean().optional(),
    ports: z.array(port),
  }),
});
const budget = z.object({
  kind: z.literal("PodDisruptionBudget"),
  spec: z.object({ maxUnavailable: z.literal(1), selector: z.object({ matchLabels: labels }) }),
});
const statefulSet = z.object({
  kind: z.literal("StatefulSet"),
  metadata: named,
  spec: z.object({
    serviceName: z.string(),
    replicas: z.int(),
    podManagementPolicy: z.literal("Parallel"),
    selector: z.object({ matchLabels: labels }),
    template: z.object({
      metadata: z.object({ labels, annotations: labels }),
      spec: z.object({
        terminationGracePeriodSeconds: z.int(),
        affinity: z.object({
          podAntiAffinity: z.object({
            requiredDuringSchedulingIgnoredDuringExecution: z.tuple([
              z.object({ labelSelector: z.object({ matchLabels: labels }) }),
            ]),
          }),
        }),
        containers: z.tuple([
          z.object({
            args: z.tuple([z.literal("serve")]),
            env: z.array(variable),
            ports: z.array(z.object({ name: z.string(), containerPort: z.int() })),
            livenessProbe: probe,
            readinessProbe: probe,
            startupProbe: probe,
            volumeMounts: z.array(mount),
          }),
        ]),
        volumes: z.array(
          z.object({ name: z.string(), secret: z.object({ secretName: z.string() }).optional() }),
        ),
      }),
    }),
    volumeClaimTemplates: z.tuple([z.object({ metadata: named })]),
  }),
});

function manifests(name: string): unknown[] {
  const documents = parseAllDocuments(readFileSync(join(deploy, "kubernetes", name), "utf8"));
  return documents.flatMap((document) => {
    expect([...document.errors, ...document.warnings]).toEqual([]);
    const value: unknown = document.toJS();
    return value === null ? [] : [value];
  });
}

const all = manifests("holdfast-cluster.yaml");
function only<T>(kind: z.ZodType<T>): T[] {
  return all.flatMap((value) => {
    const parsed = kind.safeParse(value);
    return parsed.success ? [parsed.data] : [];
  });
}
function first<T>(kind: z.ZodType<T>): T {
  const [found] = only(kind);
  if (found === undefined) throw new Error(`nothing is as it has to be: ${JSON.stringify(all)}`);
  return found;
}

const { metadata, spec } = first(statefulSet);
const pod = spec.template.spec;
const [container] = pod.containers;
const pods = Array.from({ length: spec.replicas }, (_, index) => `${metadata.name}-${index}`);

/** The configuration of a pod; what is mounted for it holds `text`. */
function load(name: string, text: string): Loaded {
  const file = join(home, "secret");
  writeFileSync(file, text);
  const env = Object.fromEntries(
    container.env.map((entry) => [entry.name, "value" in entry ? entry.value : name]),
  );
  return loadConfig({ env: { ...env, HOLDFAST_CLUSTER_SECRET_FILE: file }, cwd: home });
}
function clusterOf({ stores }: Config) {
  if (stores.kind !== "cluster") throw new Error(`it is ${stores.kind}`);
  return stores.cluster;
}

describe("kubernetes/holdfast-cluster.yaml", () => {
  const secretText = "0".repeat(64);
  const nodes = first(service.refine(({ spec: { clusterIP } }) => clusterIP === "None"));

  test("holds what it has to, nothing twice", () => {
    const kinds = all.map((value) => z.object({ kind: z.string() }).parse(value).kind);
    expect(kinds.toSorted()).toEqual([
      "PodDisruptionBudget",
      "Secret",
      "Service",
      "Service",
      "StatefulSet",
    ]);
  });

  test.each(pods)("its variables are the configuration of %s", (name) => {
    const { config, notices, sources } = load(name, secretText);
    expect(notices).toEqual([]);
    expect([...sources.values()].filter((source) => source !== "default")).toHaveLength(
      container.env.length,
    );
    const cluster = clusterOf(config);
    expect(cluster.node).toBe(name);
    expect(cluster.address).toBe(`${name}.${nodes.metadata.name}:5080`);
    expect(Object.keys(cluster.members)).toEqual(pods);
    expect(spec.serviceName).toBe(nodes.metadata.name);
  });

  test("the secret that stands in it is refused", () => {
    const { stringData } = first(secret);
    expect(() => load(pods[0] ?? "", stringData.secret)).toThrow("openssl rand -hex 32");
  });

  test("ports, paths and volumes are those of the configuration", () => {
    const { config } = load(pods[0] ?? "", secretText);
    const { etcd, listen } = clusterOf(config);
    if (etcd.kind !== "supervised") throw new Error("etcd is supervised here");
    const ports = Object.fromEntries(container.ports.map((one) => [one.name, one.containerPort]));
    const peers = { peer: listen.port, "etcd-peer": etcd.peerPort, "etcd-client": etcd.clientPort };
    const [main] = config.listen;
    expect(ports).toEqual({
      ...peers,
      registry: main?.port ?? 0,
      metrics: config.metrics.listen?.port ?? 0,
    });
    expect(Object.fromEntries(nodes.spec.ports.map((one) => [one.name, one.port]))).toEqual(peers);
    expect(nodes.spec.publishNotReadyAddresses).toBe(true);
    expect(spec.template.metadata.annotations["prometheus.io/port"]).toBe(String(ports["metrics"]));
    const { livenessProbe, startupProbe, readinessProbe } = container;
    expect([livenessProbe, startupProbe, readinessProbe].map(({ httpGet }) => httpGet)).toEqual([
      { path: "/healthz", port: "registry" },
      { path: "/healthz", port: "registry" },
      { path: "/readyz", port: "registry" },
    ]);
    expect(pod.terminationGracePeriodSeconds * 1000).toBeGreaterThan(config.drain.timeout);
    const [claim] = spec.volumeClaimTemplates;
    const mounted = new Map(container.volumeMounts.map((one) => [one.name, one.mountPath]));
    expect(mounted.get(claim.metadata.name)).toBe(config.data);
    const volume = pod.volumes.find(({ secret: given }) => given !== undefined);
    expect(volume?.secret?.secretName).toBe(first(secret).metadata.name);
    const file = container.env.find(({ name }) => name === "HOLDFAST_CLUSTER_SECRET_FILE");
    expect(file).toHaveProperty("value", `${mounted.get(volume?.name ?? "")}/secret`);
  });

  test("everything means the same pods", () => {
    const { selector } = first(budget).spec;
    const [apart] = pod.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution;
    const meant = [
      spec.selector.matchLabels,
      selector.matchLabels,
      apart.labelSelector.matchLabels,
      ...only(service).map((one) => one.spec.selector),
    ];
    for (const one of meant) expect(one).toEqual(spec.template.metadata.labels);
    expect(meant).toHaveLength(5);
  });
});

describe("systemd/holdfast.service", () => {
  const text = readFileSync(join(deploy, "systemd/holdfast.service"), "utf8");
  const settings = new Map(
    [...text.matchAll(/^(\w+)=(.*)$/gm)].map(([, name = "", value = ""]) => [name, value]),
  );

  test("its times and directories are those of the program", () => {
    const { config } = loadConfig({ env: {}, cwd: home });
    expect(Number(settings.get("TimeoutStopSec")) * 1000).toBeGreaterThan(config.drain.timeout);
    expect(`/var/lib/${settings.get("StateDirectory")}`).toBe(thisMachine.installedData);
    expect(settings.get("WorkingDirectory")).toBe(thisMachine.installedData);
    expect(settings.get("ExecStart")).toEndWith(
      "/bin/holdfast serve --config /etc/holdfast/holdfast.yml",
    );
    expect(settings.get("RestartPreventExitStatus")).toBe("2");
  });
});
